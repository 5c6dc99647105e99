"""How ``--help`` is laid out: commands and options in sections, and examples that can be copied.

The examples of a command are the lines at the end of its docstring that begin with "marketpipe". Sections are what
typer calls panels, which it draws only with rich: that starts too slowly for help and for completion.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand, TyperGroup

from marketpipe.commands.plain_options import take_plain_values

EXAMPLE = "marketpipe "
GENERAL = "General options"
Rows = list[tuple[str, str]]


class SectionedCommand(TyperCommand):
    """A command whose help has its examples, and its options in sections."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        take_plain_values(self.get_params(ctx))
        return super().parse_args(ctx, args)

    def format_help_text(self, _: Any, formatter: Any) -> None:
        _write_text(self.help, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_options(self.get_params(ctx), ctx, formatter)


class SectionedGroup(TyperGroup):
    """Commands with a common first word, or all of them; their help lists them in sections."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        take_plain_values(self.get_params(ctx))
        return super().parse_args(ctx, args)

    def format_help_text(self, _: Any, formatter: Any) -> None:
        _write_text(self.help, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        self.format_commands(ctx, formatter)
        _write_options(self.get_params(ctx), ctx, formatter)

    def format_commands(self, _: Any, formatter: Any) -> None:
        sections, longest = dict[str, Rows](), max(map(len, self.commands))
        for name, command in self.commands.items():
            title = getattr(command, "rich_help_panel", None) or "Commands"
            text = command.get_short_help_str(formatter.width)  # every text fits: a test sees to that
            sections.setdefault(title, []).append((name.ljust(longest), text))
        _write_sections(sections, formatter)


def _write_text(text: str | None, formatter: Any) -> None:
    lines = inspect.cleandoc(text or "").splitlines()
    examples = [line for line in lines if line.startswith(EXAMPLE)]
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text("\n".join(line for line in lines if line not in examples).strip())
    if examples:
        with formatter.section("Examples"):
            for line in examples:
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def _write_options(parameters: Iterable[Any], ctx: Any, formatter: Any) -> None:
    sections: dict[str, Rows] = {"Arguments": [], "Options": [], GENERAL: []}
    for each in parameters:
        if (row := each.get_help_record(ctx)) is not None:
            if each.param_type_name == "argument":
                sections["Arguments"].append((row[0].partition(" <")[0], row[1]))  # without the type of Python
            else:
                sections[getattr(each, "rich_help_panel", None) or "Options"].append(row)
    _write_sections(sections, formatter)


def _write_sections(sections: dict[str, Rows], formatter: Any) -> None:
    for title, rows in sections.items():
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)
