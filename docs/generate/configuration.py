"""The page of all keys of a configuration: types and defaults of the classes, and the docstrings of their attributes."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import NOTHING, Attribute, Factory, fields
from docs.generate.tables import code, table

from marketpipe.config.classes import SCHEDULER_VARIABLE, SECTIONS, PipelineConfig, StoreConfig, known_keys
from marketpipe.config.credentials import PAIRS
from marketpipe.getter import VARIABLES

INTRODUCTION: Final = """# Configuration

A configuration is a YAML file, usually `marketpipe.yaml`. `provider`, `symbols`, `start` and `end` are required; everything
else has a default. `marketpipe init` writes a file with all keys, and `marketpipe config show` prints the values in force
and where each comes from. An unknown key, a wrong type or an impossible date is refused before anything is written.

In Python, `PipelineConfig(provider=…, symbols=…, …)` takes the same keys, and a section as a dictionary.

## At the top

"""
ENVIRONMENT: Final = """
## Environment

API keys are never read from a configuration file, and one in it is refused. They come from the environment, or from a
file `.env` in `root`; a variable of the environment wins.

"""
MEANINGS_OF_VARIABLES: Final = {
    "ALPACA_KEY": "key for Alpaca",
    "ALPACA_SECRET": "its secret",
    "APCA_API_KEY_ID": "the same key, by the name that Alpaca's own programs use",
    "APCA_API_SECRET_KEY": "its secret",
    "MARKETPIPE_INSECURE_SCHEDULER": "the address of a Dask scheduler that is not encrypted, if that is meant",
    "MARKETPIPE_ROOT": "where `get` and `load_ohlcv` find the store, if no `root` is given",
    "MARKETPIPE_PROVIDER": "the provider of `get`",
    "MARKETPIPE_FEED": "Alpaca's feed, for `get`",
    "MARKETPIPE_CONFIG": "the configuration file of `get` and `load_ohlcv`",
}


def page() -> str:
    parts = [INTRODUCTION, _section(PipelineConfig)]
    for name, kind in SECTIONS.items():
        first_line = inspect.cleandoc(kind.__doc__ or "").splitlines()[0]
        parts.append(f"\n## {name}\n\n{first_line}\n\n{_section(kind)}")
    parts += [ENVIRONMENT, table(("variable", "meaning"), _variables())]
    return "".join(parts)


def _section(kind: type) -> str:
    meanings, keys = meanings_of(kind), known_keys(kind)
    rows = [(code(each.name), _default(each), meanings[each.name]) for each in fields(kind) if each.name in keys]
    required = [row for row in rows if row[1] == "required"]
    return table(("key", "default", "meaning"), [*required, *(row for row in rows if row not in required)])


def _variables() -> Iterator[tuple[str, str]]:
    known = [*(name for pair in PAIRS for name in pair), *VARIABLES.values(), SCHEDULER_VARIABLE]
    yield from ((code(name), MEANINGS_OF_VARIABLES[name]) for name in known)


def meanings_of(kind: type) -> Mapping[str, str]:
    """Return what each attribute means, by its name: the text below it in the source, also in that of base classes."""
    found: dict[str, str] = {}
    for each in (StoreConfig, kind) if issubclass(kind, StoreConfig) else (kind,):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        assert isinstance(tree, ast.ClassDef)
        for one, after in zip(tree.body, tree.body[1:], strict=False):
            match one, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found


def _default(attribute: Attribute[Any]) -> str:
    if attribute.name in SECTIONS:
        return f"[below](#{attribute.name})"
    if attribute.default is NOTHING:
        return "required"
    value: Any = attribute.default
    if isinstance(value, Factory):  # type: ignore[arg-type]
        value = getattr(StoreConfig(), attribute.name) if value.takes_self else value.factory()
    return code(_yaml(value))


def _yaml(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case tuple() | list():
            return f"[{', '.join(map(str, value))}]"
        case Mapping():
            return "{}"
    return f'"{value}"' if value == "-" else f"{value:g}" if isinstance(value, float) else str(value)
