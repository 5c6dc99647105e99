"""The page of all commands, from the app that runs them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Final

import typer
from docs.generate.tables import code, table

from marketpipe.cli import COMMANDS, SECTIONS, app_for
from marketpipe.commands.help_layout import EXAMPLE, GENERAL

INTRODUCTION: Final = """# Commands

`marketpipe COMMAND --help` prints the same. Without `--config` a command takes `marketpipe.yaml` of the current folder
(or of `--root`), if there is one; `import` does so only if that is the configuration of an import. A configuration of another
name has to be named. Without any file, commands that only read use the store in the current folder, and `ingest` takes
everything from options. Options override the file. `--symbols` may be repeated; all of them count.

`marketpipe --install-completion` lets your shell complete commands and options with the Tab key.

## General options

Every command takes these, before its name or after it. `ingest`, `import`, `init` and `sample` make the folder of `--root` if
there is none. `--quiet` prints no progress, and no summary if all went well; failures are printed, and so are `--json` and what
you asked to see, such as the result of `query`.

"""
COMPLETION: Final = "_completion"


def page() -> str:
    app = typer.main.get_command(app_for(COMMANDS))
    context = _context(app, "marketpipe")
    own = [each for each in app.get_params(context) if "completion" not in (each.name or "")]
    shared = [each for each in own if each.name != "help"]
    parts = [INTRODUCTION, _options(shared, context)]
    for title, names in SECTIONS.items():
        parts.append(f"\n## {title}\n")
        for name in names:
            parts += _commands(f"marketpipe {name}", app.commands[name])  # type: ignore[attr-defined]
    return "\n".join(parts)


def _commands(name: str, command: Any) -> Iterator[str]:
    if hasattr(command, "commands"):
        for word, below in command.commands.items():
            yield from _commands(f"{name} {word}", below)
    else:
        yield _command(name, command)


def _command(name: str, command: Any) -> str:
    context = _context(command, name)
    parameters = [each for each in command.get_params(context) if not _is_general(each)]
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    lines = inspect.cleandoc(command.help or "").splitlines()
    text = "\n".join(line for line in lines if not line.startswith(EXAMPLE)).strip()
    examples = "\n".join(line for line in lines if line.startswith(EXAMPLE))
    parts = [f"### {name}\n", f"    {usage}\n", f"{text}\n"]
    parts += [f"```text\n{examples}\n```\n"] if examples else []
    return "\n".join([*parts, _options(parameters, context)])


def _options(parameters: list[Any], context: Any) -> str:
    rows = [_row(each, context) for each in parameters]
    return table(("option", "meaning"), rows) if rows else ""


def _row(parameter: Any, context: Any) -> tuple[str, str]:
    name, text = parameter.get_help_record(context)
    return code(name.partition(" <")[0] if parameter.param_type_name == "argument" else name), text


def _is_general(parameter: Any) -> bool:
    return getattr(parameter, "rich_help_panel", None) == GENERAL or parameter.name == "help"


def _context(command: Any, name: str) -> Any:
    return command.context_class(command, info_name=name)
