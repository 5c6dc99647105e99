"""Checks of coverage: each verdict by its definition, and never ``ok`` over a loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from attrs import frozen

from marketpipe.ingestion.domain.coverage.verdict import SessionVerdict, Suspicion, Verdict
from marketpipe.reports import CoverageReport
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.simulation.exchange import all_sessions
from tests.simulation.ledger import Word
from tests.simulation.oracle.bars import differs, wanted_of
from tests.simulation.oracle.memory import Memory
from tests.simulation.oracle.readings import Bars
from tests.simulation.oracle.subject import Findings
from tests.simulation.rows import Day, Row

SETTLED_AFTER: Final = timedelta(hours=1)
"""After the extended close: then every feed is final."""
WITHOUT_BARS: Final = (Verdict.EMPTY, Verdict.UNLISTED)
OF_FILES: Final = (Suspicion.ALTERED, Suspicion.UNRECORDED, Suspicion.UNREADABLE)
CHANGED: Final = "the exchange's official day has changed"
"""So its minutes are requested again."""
WORTH_A_BAR: Final = 1000.0
"""Shares of an official day that cannot all be trades that make no bar."""
USUAL: Final = (0.98, 1.02)
"""Volume of the minutes of extended hours by that of the official day."""
LOST: Final = 0.6
FEWEST_NEIGHBOURS: Final = 12


@frozen
class Judged:
    """A verdict on a final session with what the oracle knows of it: ``words`` are those heard after its end."""

    day: Day
    verdict: SessionVerdict
    words: Sequence[Word]
    rows: tuple[Row, ...] | None
    rejected: frozenset[int | None]


def judged(report: CoverageReport, memory: Memory, now: Timestamp) -> Iterator[Judged]:
    """Yield the verdicts on sessions that are final, of days that nobody has damaged."""
    latest = now.plus(-SETTLED_AFTER)
    for each in report.days():
        day = str(each.symbol_day.symbol), str(each.symbol_day.trading_date)
        session = all_sessions().get(day[1])
        if session is None or session.extended.end > latest or memory.was_damaged(day) or memory.is_doubtful(day):
            continue
        words = [word for word in memory.words.get(day, ()) if word.began >= session.extended.end]
        yield Judged(day, each, words, memory.files.rows(day), memory.files.rejected(day))


def verdict(days: Sequence[Judged], session: str, confirmations: int) -> Findings:
    """Complete, empty, unlisted and short rest on the provider's final word; no final session is pending."""
    for each in days:
        wrong = _wrong(each, session, confirmations)
        yield None if wrong is None else f"{each.day[0]} {each.day[1]} is {each.verdict.verdict}, and {wrong}"


def _wrong(each: Judged, session: str, confirmations: int) -> str | None:
    found, stored = each.verdict.verdict, len(each.rows or ())
    if found is Verdict.PENDING:
        return "its session is final"
    if found is Verdict.COMPLETE:
        return _wrong_complete(each, session)
    if found in WITHOUT_BARS:
        if each.rows is not None:
            return f"{stored} bars are stored"
        is_silent = any(not wanted_of(word, session) for word in each.words)
        return None if is_silent else f"the provider has never said after its end that it has no bars: {_told(each)}"
    if found is Verdict.SHORT and len(each.words) < confirmations:
        return f"the provider was heard {len(each.words)} times after its end"
    return None


def _wrong_complete(each: Judged, session: str) -> str | None:
    if each.verdict.bars and each.verdict.bars != len(each.rows or ()):
        return f"coverage has {each.verdict.bars} bars where {len(each.rows or ())} are stored"
    if each.verdict.bars and each.rows is None:
        return "its file is gone"
    if not each.words:
        return "the provider never gave a whole answer after its end"
    reasons = [differs(each.rows, word, session, each.rejected, is_final=True) for word in each.words]
    return None if None in reasons else f"no final word agrees with it: {reasons[-1]}; {_told(each)}"


def _told(each: Judged) -> str:
    return "heard: " + (", ".join(str(len(word.rows)) for word in each.words) or "nothing")


def still_complete(days: Sequence[Judged], memory: Memory) -> Findings:
    """What a command reported complete stays so, whatever happens, while nobody says anything else of it."""
    for each in days:
        found = each.verdict.finding
        if each.day in memory.reported and not (found.detail or "").startswith(CHANGED):
            is_lost = found.verdict in (Verdict.MISSING, Verdict.PARTIAL) or found.suspicion in OF_FILES
            what = f"{' '.join(each.day)} was reported complete, and is {found.verdict}: {found.detail}"
            yield what if is_lost else None


def ok_over_a_loss(days: Sequence[Judged], official: Bars, session: str) -> Findings:
    """No session without bars counts as right if its stored official day has volume; no half one if it has all."""
    by_symbol = dict[str, list[tuple[Judged, float]]]()
    for each in days:
        volume = official[each.day][0][5] if official.get(each.day) else None
        if volume is None:
            continue
        if each.verdict.verdict in WITHOUT_BARS:
            is_lost = volume >= WORTH_A_BAR
            what = (
                f"{each.day[0]} {each.day[1]} is {each.verdict.verdict}, and its official day has {volume:,.0f} shares"
            )
            yield what if is_lost else None
        elif each.verdict.verdict is Verdict.COMPLETE and each.rows and volume >= WORTH_A_BAR:
            by_symbol.setdefault(each.day[0], []).append((each, sum(row[5] or 0.0 for row in each.rows) / volume))
    if session == "extended":
        for found in by_symbol.values():
            yield from _half(found)


def _half(found: Sequence[tuple[Judged, float]]) -> Findings:
    usual = sum(USUAL[0] <= ratio <= USUAL[1] for _, ratio in found)
    if usual < FEWEST_NEIGHBOURS:
        return
    for each, ratio in found:
        what = (
            f"{each.day[0]} {each.day[1]} is complete with {ratio:.0%} of its official volume; {usual} others have all"
        )
        yield what if ratio < LOST else None
