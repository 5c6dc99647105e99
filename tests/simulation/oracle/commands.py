"""Checks of what a command that ran alone says, and of what it leaves: audits, withdrawals, drops, rejected bars."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from itertools import takewhile
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from marketpipe.reports import AuditReport
from marketpipe.shared_kernel.domain.symbol import Outcome as DayOutcome
from tests.simulation.ledger import Word
from tests.simulation.oracle.bars import differs, is_a_bar, told, wanted_of
from tests.simulation.oracle.behaviour import temporary_files
from tests.simulation.oracle.files import day_path, official_path, quarantine_path, rows_in
from tests.simulation.oracle.memory import DROPPED, Seen
from tests.simulation.oracle.subject import HARMFUL, Findings
from tests.simulation.rows import Day, Row, by_time, date_of

REASONS: Final = ("rule", "severity", "reason")
"""What each rejected bar has besides its values."""


def is_alone(seen: Seen) -> bool:
    """Return whether one command came to its end, and nothing but the wire was wrong meanwhile."""
    outcome = seen.outcome
    is_well = all(text.startswith("wire") for text in outcome.happened)
    return not outcome.beside and outcome.ended == "returned" and is_well


def audit(seen: Seen) -> Findings:
    """An audit says that a day differs if, and only if, the provider's bars are not the stored ones."""
    report = seen.outcome.value
    if not isinstance(report, AuditReport) or not is_alone(seen):
        return
    for symbol_day, found in report.compared.items():
        day = str(symbol_day.symbol), str(symbol_day.trading_date)
        words = _whole(seen.words.get(day, ()))
        if len({word.rows for word in words}) != 1 or not all(map(is_a_bar, words[0].rows)):
            continue  # with ``adopt`` it is asked again
        if seen.memory.is_doubtful(day):
            continue
        rows = seen.before.rows(day) or ()
        if found.differs and words[0].rows == rows:
            yield f"{_named(day)} differs by the audit, and its bars are those of the provider"
        elif not found.differs and (why := _difference(rows, words[0], seen.session)):
            yield f"{_named(day)} does not differ by the audit: {why}"
        else:
            yield None


def _difference(rows: Sequence[Row], word: Word, session: str) -> str | None:
    if not wanted_of(word, session):
        return f"{len(rows)} bars are stored, and the provider has none" if rows else None
    return differs(tuple(rows), word, session, (), is_final=True)


def withdrawn(seen: Seen, confirmations: int) -> Findings:
    """Stored bars are removed only after so many answers without bars, one after another.

    Who gets one asks at once again: both are one answer.
    """
    if not is_alone(seen):
        return
    for day, outcomes in seen.reported().items():
        if outcomes != {DayOutcome.EMPTY} or not seen.before.rows(day) or seen.memory.is_doubtful(day):
            continue
        words = [*seen.memory.words.get(day, ()), *_whole(seen.words.get(day, ()))]
        silent = {word.process for word in takewhile(lambda word: not word.rows, reversed(words))}
        what = f"{_named(day)} lost its bars after {len(silent)} answers without bars, and {confirmations} are needed"
        yield None if len(silent) >= confirmations else what


def dropped(seen: Seen) -> Findings:
    """Of a dropped symbol only former versions are left, and all that it had is one; no other symbol changes."""
    outcome, before, now = seen.outcome, seen.before, seen.now
    if outcome.step.kind != "drop" or not is_alone(seen):
        return
    names = {*outcome.step.what["symbols"].split(",")}
    for path in sorted({*now.contents, *before.contents}):
        if not path.startswith(DROPPED) or path in seen.memory.ever_damaged:
            continue
        if {part.removeprefix("symbol=") for part in path.split("/")} & names:
            yield f"{path} is still there after its symbol was dropped" if path in now.contents else None
        else:
            is_same = now.contents.get(path) == before.contents.get(path)
            yield None if is_same else f"{path} changed as another symbol was dropped"
    for day, content in before.days.items():
        if day[0] in names and not seen.memory.was_damaged(day):
            yield None if _has_revision(seen, day, content) else f"{_named(day)} was dropped, and is no former version"


def _has_revision(seen: Seen, day: Day, content: bytes) -> bool:
    beginning = f"revisions/{day_path(day).removesuffix('parquet')}"
    return any(path.startswith(beginning) and found == content for path, found in seen.now.contents.items())


def official(seen: Seen) -> Findings:
    """An official day of which an ingestion has heard is what the provider said: a bar, or none."""
    if not is_alone(seen) or seen.kinds() & HARMFUL:
        return
    reports = list(seen.reports())
    failed = {(str(day.symbol), str(day.trading_date)) for report in reports for day in report.official.failures}
    for day, words in sorted(seen.of_days.items()) if reports else ():
        said = [word.rows for word in _whole(words)]
        if not said or day in failed or any(len(rows) > 1 or not all(map(is_a_bar, rows)) for rows in said):
            continue
        content = seen.now.contents.get(official_path(day))
        rows = () if content is None else tuple(row for row in rows_in(content) if date_of(row[0]) == day[1])
        have, had = (told(found[0]) if found else "none" for found in (rows, said[-1]))
        yield None if rows in said else f"the official day of {_named(day)} is {have}, and the provider said {had}"


def quarantine(seen: Seen) -> Findings:
    """A rejected bar has a reason, and none is in quarantine that is stored just as the provider said it last."""
    for path in seen.changed_paths():
        content = seen.now.contents.get(path) if path.startswith("quarantine/") else None
        if content is not None and path not in seen.memory.ever_damaged:
            yield None if _have_reasons(content) else f"{path} has bars without a reason"
    for day, outcomes in seen.reported().items() if is_alone(seen) else ():
        words = _whole(seen.words.get(day, ()))
        is_certain = len({word.rows for word in words}) == 1 and quarantine_path(day) not in seen.memory.ever_damaged
        if outcomes != {DayOutcome.COMPLETE} or not is_certain:
            continue
        wanted, have = wanted_of(words[0], seen.session), by_time(seen.now.rows(day) or ())
        for time in sorted(seen.now.rejected(day) - {None}):
            versions = wanted.get(time, ())
            is_stored = len(versions) == 1 and have.get(time) == versions[0]
            yield f"{_named(day)}: {told(versions[0])} is stored, and is in quarantine" if is_stored else None


def _have_reasons(content: bytes) -> bool:
    try:
        found = pq.read_table(BytesIO(content), columns=[*REASONS], use_threads=False)
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return True  # what gave way in the folder of a month is no file of rejected bars
    return all(all(found[name].to_pylist()) for name in REASONS)


def leftovers(seen: Seen) -> Findings:
    """A command that came to its end, well or not, leaves no temporary file, unless it could not remove it."""
    each = seen.outcome.all()
    hindered = any(one.ended in ("killed", "stuck") or "unlink" in " ".join(one.happened) for one in each)
    if hindered or seen.kinds() & HARMFUL:
        return
    before = {*temporary_files(seen.before.contents)}
    for path in seen.changed_paths():
        if path not in before and temporary_files([path]):
            yield f"{path} was left by a process that came to its end"


def _whole(words: Sequence[Word]) -> list[Word]:
    return [word for word in words if word.is_whole]


def _named(day: Day) -> str:
    return " ".join(day)
