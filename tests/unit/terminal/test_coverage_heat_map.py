from __future__ import annotations

from marketpipe.ingestion.domain.coverage.market import SymbolDays
from marketpipe.ingestion.domain.coverage.verdict import Finding, SymbolCoverage, Verdict
from marketpipe.reports import CoverageReport
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.terminal.coverage import MAX_ROWS, SIGNS, heat_map
from tests.support.coverage_grids import grid


def report(rows: dict[str, str], first: str = "2024-01-02", last: str = "2024-01-31") -> CoverageReport:
    """Build a report from rows of signs, one sign a session; the last sign of a short row is repeated."""
    days = grid(first, last)
    verdicts = {sign: verdict for verdict, (sign, _) in SIGNS.items()}
    symbols = tuple(
        SymbolCoverage.of(
            SymbolDays(Symbol(name), [None] * len(days), {}),
            days,
            [Finding(verdicts[sign]) for sign in signs.ljust(len(days), signs[-1])],
        )
        for name, signs in rows.items()
    )
    return CoverageReport(days.dates[0], days.dates[-1], SessionKind.EXTENDED, symbols)


def lines(made: CoverageReport, width: int) -> list[str]:
    return [line.plain for line in heat_map(made, width)]


def test_every_session_has_its_own_sign_if_there_is_room() -> None:
    head, first, second, *legend = lines(report({"AAPL": "█x█?█", "BRK.B": "--█"}), 80)

    assert head == "      2024-01"
    assert first == "AAPL  █x█?" + "█" * 17
    assert second == "BRK.B --" + "█" * 19
    assert all(f"{sign} {verdict}" in "\n".join(legend) for verdict, (sign, _) in SIGNS.items())


def test_every_verdict_has_a_sign_and_no_two_share_one() -> None:
    assert set(SIGNS) == set(Verdict)
    assert len({sign for sign, _ in SIGNS.values()}) == len(SIGNS)


def test_a_shared_sign_shows_the_worst_session() -> None:
    made = report({"AAPL": "█" * 100 + "?" + "█"}, "2024-01-02", "2024-12-31")

    _, row, *legend = lines(made, 60)

    assert len(row) <= 60
    assert row.count("?") == 1
    assert "the worst of 5 sessions" in legend[-1]


def test_lines_fit_and_months_are_labelled_if_there_is_room() -> None:
    made = report({"AAPL": "█"}, "2020-01-02", "2024-12-31")

    head, row, *legend = lines(made, 100)

    assert len(head) <= len(row) <= 100
    assert all(len(line) <= width for width in (60, 80, 100) for line in lines(made, width))
    assert not any(line.endswith(" ") for line in legend)
    assert head.split()[:2] == ["2020-01", "2020-06"]


def test_symbols_with_gaps_are_shown_before_those_without() -> None:
    rows = {f"S{number:03}": "█" for number in range(MAX_ROWS + 40)} | {"ZZZ": "█x"}

    found = lines(report(rows), 80)

    assert any(line.startswith("ZZZ") for line in found)
    assert "… and 41 more symbols, none of them worse than these" in found
