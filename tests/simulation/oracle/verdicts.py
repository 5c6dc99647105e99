"""Checks of coverage: each verdict by its definition, and never ``ok`` over a loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Final

from attrs import frozen

from marketpipe.ingestion.domain.coverage.verdict import SessionVerdict, Suspicion, Verdict
from marketpipe.reports import CoverageReport
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.simulation.exchange import all_sessions
from tests.simulation.ledger import Word
from tests.simulation.oracle.bars import differs, wanted_of
from tests.simulation.oracle.files import data_path
from tests.simulation.oracle.memory import Memory
from tests.simulation.oracle.readings import Bars
from tests.simulation.oracle.subject import Findings
from tests.simulation.rows import Day, Row

SETTLED_AFTER: Final = timedelta(minutes=20)
"""After the extended close: the feeds of Alpaca are final a quarter of an hour after it."""
WITHOUT_BARS: Final = (Verdict.EMPTY, Verdict.UNLISTED)
OF_FILES: Final = (Suspicion.ALTERED, Suspicion.UNRECORDED, Suspicion.UNREADABLE)
CHANGED: Final = "the exchange's official day has changed"
"""So its minutes are requested again."""
DATED_AHEAD: Final = "by a clock that was ahead"
"""So they are too."""
WORTH_A_BAR: Final = 1000.0
"""Shares of an official day that cannot all be trades that make no bar."""
USUAL: Final = (0.999, 1.001)
"""Volume of the minutes of extended hours by that of the official day."""
LOST: Final = 0.95
FEWEST_NEIGHBOURS: Final = 12
MOST_OTHERS: Final = 0.9
"""So many of the days that are compared are usual: then all others differ from them."""
EQUAL: Final = 1e-4
OTHER_PRICE: Final = 0.02
LONG: Final = 60
"""Minutes of a silence that is no chance in a symbol that has a bar in ``DENSE`` of its minutes."""
DENSE: Final = 0.9
AROUND: Final = 10
"""Sessions before and after that are whole."""
A_MINUTE: Final = 60_000_000


@frozen
class Judged:
    """A verdict on a final session with what the oracle knows of it: ``words`` are those heard after its end."""

    day: Day
    verdict: SessionVerdict
    words: Sequence[Word]
    rows: tuple[Row, ...] | None
    rejected: frozenset[int | None]


def judged(report: CoverageReport, memory: Memory, now: Timestamp) -> Iterator[Judged]:
    """Yield the verdicts on sessions that are final ``now``, of days that nobody has damaged.

    ``now`` is true, or earlier: by a clock that is behind, a session ends later.
    """
    latest = now.plus(-SETTLED_AFTER)
    for each in report.days():
        day = str(each.symbol_day.symbol), str(each.symbol_day.trading_date)
        session = all_sessions().get(day[1])
        if session is None or session.extended.end > latest or memory.was_damaged(day) or memory.is_doubtful(day):
            continue
        words = [word for word in memory.words.get(day, ()) if word.began >= session.extended.end]
        yield Judged(day, each, words, memory.files.rows(day), memory.files.rejected(day))


def of_lost_files(report: CoverageReport, memory: Memory) -> Findings:
    """A day whose file somebody removed is not complete."""
    lost = {path for path, damage in memory.damage.items() if damage.since is None}
    for each in report.days() if lost else ():
        day = str(each.symbol_day.symbol), str(each.symbol_day.trading_date)
        if data_path(day) in lost and day not in memory.files.days:
            is_wrong = each.finding.verdict is Verdict.COMPLETE
            yield f"{' '.join(day)} is complete, and somebody removed its file" if is_wrong else None


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
    if found is Verdict.SHORT:
        return _wrong_short(each, session, confirmations)
    return None


def _wrong_short(each: Judged, session: str, confirmations: int) -> str | None:
    if len(each.words) < confirmations:
        return f"the provider was heard {len(each.words)} times after its end"
    said = Counter(repr(sorted(wanted_of(word, session).items())) for word in each.words)
    if not each.rejected and max(said.values()) < confirmations:  # a rejected bar may be stored in its former version
        return f"no answer came {confirmations} times: {_told(each)}"
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
        is_to_be_asked = (found.detail or "").startswith(CHANGED) or DATED_AHEAD in (found.detail or "")
        if each.day in memory.reported and not is_to_be_asked:
            is_lost = found.verdict in (Verdict.MISSING, Verdict.PARTIAL) or found.suspicion in OF_FILES
            what = f"{' '.join(each.day)} was reported complete, and is {found.verdict}: {found.detail}"
            yield what if is_lost else None


def ok_over_a_loss(days: Sequence[Judged], official: Bars, session: str) -> Findings:
    """No session without bars counts as right if its stored official day has volume; nor one that has less volume or
    another close than that, though the others of its symbol agree; nor one that lacks an hour of a dense symbol.
    """
    by_symbol = dict[str, list[Judged]]()
    for each in days:
        day = _official_of(each, official)
        if each.verdict.verdict in WITHOUT_BARS and day is not None:
            what = f"{_named(each)} is {each.verdict.verdict}, and its official day has {day[5]:,.0f} shares"
            yield what if (day[5] or 0.0) >= WORTH_A_BAR else None
        elif each.verdict.verdict is Verdict.COMPLETE and each.rows:
            by_symbol.setdefault(each.day[0], []).append(each)
    for found in by_symbol.values():
        known = ((each, _official_of(each, official)) for each in found)
        compared = [(each, day) for each, day in known if day is not None and (day[5] or 0.0) >= WORTH_A_BAR]
        yield from _half(compared) if session == "extended" else ()
        yield from _other_close(compared)
        yield from _hour_without_bars(found, official)


def _official_of(each: Judged, official: Bars) -> Row | None:
    return official[each.day][0] if official.get(each.day) else None


def _named(each: Judged) -> str:
    return " ".join(each.day)


def _half(found: Sequence[tuple[Judged, Row]]) -> Findings:
    ratios = [(each, sum(row[5] or 0.0 for row in each.rows or ()) / (day[5] or 1.0)) for each, day in found]
    usual = sum(USUAL[0] <= ratio <= USUAL[1] for _, ratio in ratios)
    if not _are_enough(usual, len(found)):
        return
    for (each, ratio), (_, day) in zip(ratios, found, strict=True):
        what = f"{_named(each)} is complete with {ratio:.0%} of its official volume; {usual} others have all"
        is_lost = ratio < LOST and (1 - ratio) * (day[5] or 0.0) >= WORTH_A_BAR
        yield what if is_lost else None


def _are_enough(usual: int, count: int) -> bool:
    return usual >= FEWEST_NEIGHBOURS and usual > MOST_OTHERS * count


def _other_close(found: Sequence[tuple[Judged, Row]]) -> Findings:
    closes = [(each, _close_of(each), day[4]) for each, day in found]
    differences = [(each, abs(close / wanted - 1)) for each, close, wanted in closes if close and wanted]
    usual = sum(difference < EQUAL for _, difference in differences)
    if not _are_enough(usual, len(differences)):
        return
    for each, difference in differences:
        what = f"{_named(each)} is complete, its close is {difference:.1%} off the official one; {usual} others agree"
        yield what if difference > OTHER_PRICE else None


def _close_of(each: Judged) -> float | None:
    """Return the price of the closing auction, or of the last bar before it; None if there is no such bar."""
    session = all_sessions()[each.day[1]]
    opens, closes = session.opens.epoch_micros, session.closes.epoch_micros
    rows = each.rows or ()
    auction = next((row[1] for row in rows if row[0] == closes), None)
    return auction or next((row[4] for row in reversed(rows) if opens <= row[0] < closes), None)


def _hour_without_bars(found: Sequence[Judged], official: Bars) -> Findings:
    """An official day whose volume the minutes have shows that trading was halted."""
    by_date = {each.day[1]: _silence(each) for each in found}
    dates = [*all_sessions()]
    for each in found:
        longest, day = by_date[each.day[1]], _official_of(each, official)
        if (
            longest is None
            or longest < LONG
            or (day is not None and sum(row[5] or 0.0 for row in each.rows or ()) > LOST * (day[5] or 0))
        ):
            continue
        position = dates.index(each.day[1])
        around = [*dates[max(0, position - AROUND) : position], *dates[position + 1 : position + 1 + AROUND]]
        others = [by_date[date] for date in around if date in by_date]
        whole = sum(other is not None and other < LONG for other in others)
        what = f"{_named(each)} is complete without a bar in {longest} minutes; {whole} sessions around have all"
        yield what if FEWEST_NEIGHBOURS <= whole == len(others) else None


def _silence(each: Judged) -> int | None:
    """Return how many minutes of the session, one after another, have no bar; None if it is sparse besides."""
    session = all_sessions()[each.day[1]]
    opens, closes = session.opens.epoch_micros, session.closes.epoch_micros
    times = [row[0] for row in each.rows or () if opens <= row[0] < closes]
    gaps = [(after - before) // A_MINUTE - 1 for before, after in pairwise([opens - A_MINUTE, *times, closes])]
    longest = max(gaps)
    return longest if len(times) >= DENSE * ((closes - opens) // A_MINUTE - longest) else None
