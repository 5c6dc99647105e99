from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from marketpipe.ingestion.domain.coverage.market import SymbolDays
from marketpipe.ingestion.domain.coverage.verdict import Finding, Suspicion, SymbolCoverage, Verdict, suspect
from marketpipe.report_html import COLOURS, LEAST_WIDTH, MAP_WIDTH, MOST_LINES, MOST_ROWS, coverage, facts, table
from marketpipe.shared_kernel.domain.symbol import Symbol
from tests.support.coverage_grids import grid

HOSTILE = "<script>alert(1)</script>&\"'\x1b[31m"


def row(name: str, findings: dict[int, Finding], last: str = "2024-12-31") -> SymbolCoverage:
    """Build the coverage of a symbol from 2024-01-02 on, complete but for ``findings``, by number of the session."""
    days = grid("2024-01-02", last)
    all_findings = [findings.get(i, Finding(Verdict.COMPLETE)) for i in range(len(days))]
    return SymbolCoverage.of(SymbolDays(Symbol(name), [None] * len(days), {}), days, all_findings)


def parsed(html: str) -> ElementTree.Element:
    """Parse as XML, which fails for a tag that is not closed and for text that is not escaped."""
    return ElementTree.fromstring(html.replace("&nbsp;", " ").replace("&ensp;", " "))


def test_every_verdict_has_a_colour_and_no_two_share_one() -> None:
    assert set(COLOURS) == set(Verdict)
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_one_missing_session_of_a_year_is_wide_enough_to_be_seen_and_explained() -> None:
    drawn = parsed(coverage("Coverage", [row("AAPL", {100: Finding(Verdict.MISSING, "never requested")})], []))

    (missing,) = [each for each in drawn.iter("rect") if each.get("fill") == COLOURS[Verdict.MISSING]]
    assert float(missing.get("width", "0")) >= LEAST_WIDTH
    assert float(missing.get("x", "0")) == pytest.approx(100 / 252 * MAP_WIDTH, abs=0.1)
    assert missing.findtext("title") == "AAPL 2024-05-24 missing: never requested"
    assert list(drawn.iter("rect"))[-1] is missing  # nothing is drawn over it


def test_a_gap_in_the_last_session_stays_within_the_map() -> None:
    days = len(grid("2024-01-02", "2024-12-31"))
    drawn = parsed(coverage("Coverage", [row("AAPL", {days - 1: Finding(Verdict.PARTIAL)})], []))

    assert all(float(each.get("x", "0")) + float(each.get("width", "0")) <= MAP_WIDTH for each in drawn.iter("rect"))


def test_of_many_symbols_the_worst_are_drawn_and_the_others_counted() -> None:
    rows = [row(f"S{i:03}", {}, "2024-01-10") for i in range(MOST_ROWS + 5)]
    rows[-1] = row("ZZZ", {2: Finding(Verdict.MISSING, "never requested")}, "2024-01-10")

    drawn = coverage("Coverage", rows, [])

    assert ">ZZZ<" in drawn
    assert drawn.count("<svg") == MOST_ROWS
    assert "5 more symbols" in drawn


def test_a_range_without_sessions_and_no_symbols_are_no_map() -> None:
    assert "<svg" not in coverage("Coverage", [], [])
    assert "<svg" not in coverage("Coverage", [row("AAPL", {}, "2024-01-01")], [])


def test_what_comes_from_outside_is_escaped_everywhere() -> None:
    finding = suspect(Suspicion.ALTERED, HOSTILE)
    made = [
        coverage(HOSTILE, [row("AAPL", {3: finding})], [HOSTILE]),
        facts(HOSTILE, {HOSTILE: HOSTILE}, [HOSTILE]),
        table([HOSTILE], [[HOSTILE]]),
    ]

    for html in made:
        text = "".join(parsed(html).itertext())
        assert "<script" not in html
        assert "\x1b" not in html
        assert "<script>alert(1)</script>" in text


def test_numbers_have_separators_and_stand_on_the_right_and_what_is_none_is_left_out() -> None:
    html = facts("Plan", {"bars": 1234567, "MB": 1234.5, "minutes": None, "none left": 0, "ok": True})

    assert re.findall(r"right\">([^<]*)<", html) == ["1,234,567", "1,234.50", "0"]
    assert "minutes" not in html
    assert ">True<" in html


def test_long_lists_are_cut_and_the_rest_is_counted() -> None:
    html = facts("Ingestion", {}, [f"line {i}" for i in range(MOST_LINES + 7)])

    assert html.count("<li>") == MOST_LINES + 1
    assert "… and 7 more" in html
