"""Reports as HTML for notebooks: tables of facts, and the heat map of a coverage.

Plain HTML and SVG without scripts, so that a notebook shows them wherever it is opened. Everything that comes from
outside is escaped. Text takes the colour of the page, and the verdicts differ in brightness too, for readers who see
few colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Final

from marketpipe.ingestion.domain.coverage.verdict import Gap, SymbolCoverage, Verdict
from marketpipe.shared_kernel.domain.secret_text import visible

COLOURS: Final[Mapping[Verdict, str]] = {
    Verdict.COMPLETE: "#2a9d6f",
    Verdict.EMPTY: "#7fb3d5",
    Verdict.UNLISTED: "#c9ced6",
    Verdict.PENDING: "#e3e7ec",
    Verdict.PARTIAL: "#f0c84b",
    Verdict.SHORT: "#d98e04",
    Verdict.SUSPECT: "#b0409b",
    Verdict.MISSING: "#8c1c13",
}
"""By verdict, in the order in which they are drawn: the worst ones last, over the others."""
MAP_WIDTH, ROW_HEIGHT, LEAST_WIDTH = 720, 14, 2.0
"""Pixels. One missing session of a thousand would be thinner than a pixel: it is drawn ``LEAST_WIDTH`` wide."""
MOST_ROWS, MOST_LINES = 60, 20
TABLE_STYLE: Final = "border-collapse:collapse;margin:.3em 0"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; numbers stand on the right, with separators."""
    titles = "".join(f'<th style="text-align:left">{_text(title)}</th>' for title in head)
    lines = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<table style="{TABLE_STYLE}"><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>'


def facts(title: str, named: Mapping[str, object], notes: Sequence[str] = ()) -> str:
    """Return a titled table of names and values, without what is None, and at most twenty lines of notes below it."""
    rows = "".join(
        f'<tr><th style="text-align:left;font-weight:normal">{_text(name)}</th>{_cell(value)}</tr>'
        for name, value in named.items()
        if value is not None
    )
    return f'<div><b>{_text(title)}</b><table style="{TABLE_STYLE}"><tbody>{rows}</tbody></table>{_list(notes)}</div>'


def coverage(title: str, symbols: Sequence[SymbolCoverage], lost: Sequence[str]) -> str:
    """Return the heat map, symbols down and sessions across, and the first gaps with their reasons.

    Of more than sixty symbols those with the most gaps are drawn, by symbol.
    """
    lines = [*(str(gap) for row in symbols for gap in row.gaps()), *(f"{path}: lost" for path in lost)]
    shown = sorted(sorted(symbols, key=_worst_first)[:MOST_ROWS], key=lambda row: row.symbol)
    left = len(symbols) - len(shown)
    below = f"<div>… and {left:,} more symbols, none of them worse than these</div>" if left else ""
    drawn = _map(shown) if shown and len(shown[0].grid) else ""
    return f"<div><b>{_text(title)}</b>{drawn}{below}{_list(lines)}</div>"


def _map(rows: Sequence[SymbolCoverage]) -> str:
    """Draw one strip for each symbol, of runs of equal verdicts: years of sessions stay a few hundred bytes."""
    dates, scale = rows[0].grid.dates, MAP_WIDTH / len(rows[0].grid)
    lines = "".join(
        f'<tr><th style="text-align:left;padding:0 .6em 0 0">{_text(row.symbol)}</th><td style="padding:0">'
        f'<svg width="{MAP_WIDTH}" height="{ROW_HEIGHT}" role="img" aria-label="{_text(_counts(row))}">'
        f"{''.join(_strips(row, scale))}</svg></td></tr>"
        for row in rows
    )
    seen = [verdict for verdict in COLOURS if any(row.count(verdict) for row in rows)]
    legend = " ".join(f'<span style="color:{COLOURS[verdict]}">■</span>&nbsp;{verdict}&ensp;' for verdict in seen)
    ends = f'<span>{dates[0]}</span><span style="float:right">{dates[-1]}</span>'
    below = f'<tr><td></td><td style="padding:0">{ends}</td></tr>'
    return f'<table style="{TABLE_STYLE}"><tbody>{lines}{below}</tbody></table><div>{legend}</div>'


def _strips(row: SymbolCoverage, scale: float) -> Iterator[str]:
    runs, position = list[tuple[int, Gap]](), 0
    for run in row.runs():
        runs.append((position, run))
        position += run.sessions
    order = list(COLOURS)
    for start, run in sorted(runs, key=lambda each: order.index(each[1].finding.verdict)):
        width = max(LEAST_WIDTH, run.sessions * scale)
        left = min(start * scale, MAP_WIDTH - width)
        colour = COLOURS[run.finding.verdict]
        yield (
            f'<rect x="{left:.1f}" y="1" width="{width:.1f}" height="{ROW_HEIGHT - 2}" fill="{colour}">'
            f"<title>{_text(run)}</title></rect>"
        )


def _worst_first(row: SymbolCoverage) -> tuple[int, int]:
    disproved = sum(row.count(verdict) for verdict in Verdict if verdict.disproves)
    return -disproved, -sum(row.count(verdict) for verdict in Verdict if verdict.is_gap)


def _counts(row: SymbolCoverage) -> str:
    counts = ", ".join(f"{count:,} {verdict}" for verdict in Verdict if (count := row.count(verdict)))
    return f"{row.symbol}: {counts}"


def _list(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    more = len(lines) - MOST_LINES
    items = [*lines[:MOST_LINES], *([f"… and {more:,} more"] if more > 0 else [])]
    return f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in items)}</ul>"


def _cell(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
        return f'<td style="text-align:right">{number}</td>'
    return f'<td style="text-align:left">{_text("" if value is None else value)}</td>'


def _text(value: object) -> str:
    return escape(visible(str(value)))
