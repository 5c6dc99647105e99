"""Tables in which nothing is cut: what does not fit a terminal in columns is printed as records, name by name.

Output that goes to a file or to a program is one plain table, however wide, with every digit of its numbers.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TypeGuard

from attrs import evolve, frozen
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from marketpipe.shared_kernel.domain.secret_text import visible

WIDEST = 10_000
"""Columns of a table that is not printed on a terminal: enough for any row."""
HEAD_STYLE = "bold underline"
GAPS = (2, 1)
"""Spaces between columns: as many as there is room for."""
NARROWEST_TEXT = len("2024-01-02 to")
"""A column of text is not folded to fewer characters."""
LONGEST_WORD = 32
"""Characters of a word that is never broken: longer than any number or date."""
SHORTEST_DECIMALS, MOST_DECIMALS, EVERY_DECIMAL = 2, 6, 17
"""Of a column with fractions: on a terminal, a fraction below a millionth has six significant digits instead."""
SIGNIFICANT = 6
LEAST, GREATEST = 1e-9, 1e15
"""A column with a float beyond these is written with exponents."""
NEVER_SEPARATED = frozenset({"year", "id", "job", "job_id"})
"""Names of columns whose numbers are no quantities: they have no thousands separators."""
PRICES = frozenset({"open", "high", "low", "close", "vwap"})
Number = int | float | Decimal


@frozen
class Column:
    """A column that is ready to be printed. ``folded`` is the width that its text is broken to, between words."""

    name: str
    texts: Sequence[str]
    is_text: bool = False
    is_number: bool = False
    is_zero: bool = False
    folded: int | None = None

    @property
    def width(self) -> int:
        return self.folded or max(map(_width, [self.name, *self.texts]))

    @property
    def is_empty(self) -> bool:
        return bool(self.texts) and not any(self.texts)

    @property
    def broken_texts(self) -> Sequence[str]:
        return self.texts if self.folded is None else [_broken(text, self.folded) for text in self.texts]

    @property
    def narrowest(self) -> int:
        """The width to which the column may be folded: no word is broken but a path or another very long one."""
        if not self.is_text:
            return self.width
        words = (min(LONGEST_WORD, cell_len(word)) for text in [self.name, *self.texts] for word in text.split())
        return min(self.width, max(NARROWEST_TEXT, max(words, default=0)))


@frozen
class Fitted:
    """What it took to fit a table into a terminal: the empty columns that were left out; a record for each row."""

    left_out: tuple[str, ...] = ()
    is_records: bool = False


def print_table(
    head: Sequence[str],
    rows: Iterable[Iterable[object]],
    *,
    spare: Collection[str] = (),
    console: Console | None = None,
) -> Fitted:
    """Print a table of values, and return what it took to fit it. None is empty, numbers are on the right.

    If a terminal is too narrow, the columns that are empty in every row are left out, and the ``spare`` ones that are 0
    in every row; then text is folded between words, and paths after a slash; if that does not help, each row is a
    record of ``name: value`` lines.
    """
    console = console or Console()
    values = list(zip(*rows, strict=True)) or [() for _ in head]
    columns = [column_of(name, each, exact=not console.is_terminal) for name, each in zip(head, values, strict=True)]
    if not console.is_terminal:
        console = Console(file=console.file, width=WIDEST, force_terminal=False)
    if (fitting := fit(columns, spare, console.width)) is not None:
        shown, gap = fitting
        console.print(_table(shown, gap))
    else:
        shown = [column for column in columns if not column.is_empty] or columns
        _print_records(shown, console)
    names = {column.name for column in shown}
    left_out = tuple(column.name for column in columns if column.is_empty and column.name not in names)
    return Fitted(left_out, is_records=fitting is None)


def column_of(name: str, values: Sequence[object], *, exact: bool = False) -> Column:
    """Return the values as text: numbers with the decimals that the column needs, ``exact`` with all they have."""
    numbers = [value for value in values if _is_number(value)]
    if not numbers or len(numbers) < sum(value is not None for value in values):
        is_text = all(value is None or isinstance(value, str) for value in values)
        return Column(visible(name), [visible(text_of(value)) for value in values], is_text)
    as_text = _number_format(name, numbers, EVERY_DECIMAL if exact else MOST_DECIMALS)
    texts = [format(_exact(value), as_text) if _is_number(value) else "" for value in values]
    return Column(visible(name), texts, is_number=True, is_zero=not any(numbers))


def fit(columns: Sequence[Column], spare: Collection[str], width: int) -> tuple[Sequence[Column], int] | None:
    """Return the columns as they fit into the width, and the spaces between them. None if they do not fit."""
    needed = [column for column in columns if not (column.is_empty or (column.is_zero and column.name in spare))]
    needed = needed or list(columns)
    for choice in (columns, needed):
        for gap in GAPS:
            if sum(column.width + gap for column in choice) - gap <= width:
                return choice, gap
    too_wide = sum(column.width + GAPS[-1] for column in needed) - GAPS[-1] - width
    folded = list[Column]()
    for column in reversed(needed):  # the first columns name the row
        saved = min(max(0, too_wide), column.width - column.narrowest)
        too_wide -= saved
        folded.insert(0, evolve(column, folded=column.width - saved) if saved else column)
    return None if too_wide > 0 else (folded, GAPS[-1])


def _table(columns: Sequence[Column], gap: int) -> Table:
    table = Table(box=None, header_style=HEAD_STYLE, pad_edge=False, padding=(0, gap, 0, 0))
    for column in columns:
        justify: JustifyMethod = "right" if column.is_number else "left"
        table.add_column(
            Text(column.name), justify=justify, no_wrap=not column.folded, overflow="fold", width=column.width
        )
    for row in zip(*(column.broken_texts for column in columns), strict=True):
        table.add_row(*map(Text, row))
    return table


def _broken(text: str, width: int) -> str:
    """Break what is longer than the width, and has no space to be broken at, after a slash."""
    lines, rest = list[str](), text
    while " " not in rest and cell_len(rest) > width and (end := rest.rfind("/", 0, width) + 1) > 1:
        lines.append(rest[:end])
        rest = rest[end:]
    return "\n".join([*lines, rest])


def _print_records(columns: Sequence[Column], console: Console) -> None:
    margin = max(cell_len(column.name) for column in columns) + 2
    for position in range(len(columns[0].texts)):
        if position:
            console.print()
        for column in columns:
            name = Text(f"{column.name}:".ljust(margin), style="bold")
            console.print(Text.assemble(name, column.texts[position].strip()), soft_wrap=True)


def text_of(value: object) -> str:
    """Return the text of a single value: "" for None, and thousands separators in numbers."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case int():
            return f"{value:,}"
        case datetime():
            return value.isoformat(" ").replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case bytes():
            return value.hex()
    return str(value)


def _exact(number: Number) -> Number:
    return Decimal(number) if isinstance(number, int) else number  # formatted as a float, it would lose digits


def _is_number(value: object) -> TypeGuard[Number]:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _number_format(name: str, numbers: Iterable[Number], most: int) -> str:
    """Return the format specification that shows all of these numbers with the same decimals."""
    if name.lower() in NEVER_SEPARATED:
        return ""
    fractions = [number for number in numbers if not isinstance(number, int) and math.isfinite(number) and number]
    if any(isinstance(number, float) and not LEAST <= abs(number) < GREATEST for number in fractions):
        return "" if most == EVERY_DECIMAL else f".{most}g"
    decimals = max((_decimals(number, most) for number in fractions), default=0)
    if decimals or name.lower() in PRICES:
        decimals = max(decimals, SHORTEST_DECIMALS)
    return f",.{decimals}f"


def _decimals(number: float | Decimal, most: int) -> int:
    """Return how many decimals the number has, a float at most ``most`` or those of its significant digits."""
    exact = Decimal(repr(number)) if isinstance(number, float) else number
    if isinstance(number, float):
        exact = round(exact, max(most, SIGNIFICANT - 1 - exact.adjusted()))
    return len(f"{exact:f}".partition(".")[2].rstrip("0"))


def _width(text: str) -> int:
    return max(map(cell_len, text.splitlines()), default=0)
