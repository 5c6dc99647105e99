"""The check ``heals``: when all faults have ended, a few calm commands make a store as if there had been none."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from marketpipe.ingestion.domain.coverage.verdict import Suspicion, Verdict
from marketpipe.reports import CoverageReport
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.storage.domain.integrity import Damage, IntegrityReport
from tests.simulation.exchange import all_sessions
from tests.simulation.ledger import Word
from tests.simulation.machine_events import STORE
from tests.simulation.oracle.bars import differs, is_a_bar, wanted_of
from tests.simulation.oracle.files import StoreFiles
from tests.simulation.oracle.memory import Memory
from tests.simulation.oracle.subject import Findings, Subject
from tests.simulation.oracle.verdicts import SETTLED_AFTER
from tests.simulation.rows import Day

if TYPE_CHECKING:
    from marketpipe import Pipeline

DATA: Final = f"{STORE}/data"
VERSION_INDEX: Final = re.compile(r"revisions/symbol=[^/]+/known_since\.csv", re.ASCII)
"""A power loss may leave anything in the place of its last lines, and verify says what to do then."""
A_DAY: Final = 86_400.0
OF_RECORDS: Final = frozenset(
    {
        Suspicion.ALTERED,
        Suspicion.UNRECORDED,
        Suspicion.UNREADABLE,
        Suspicion.STALE_AGGREGATE,
        Suspicion.FORMER_SCALE,
    }
)
"""Suspicions of files and records, which a calm ingestion ends."""


@frozen
class Healed:
    """What there is after the calm commands: ``words`` are what the provider said to them.

    ``is_adjusted``: some of them were only compared with what is stored, as before a store of adjusted prices grows.
    """

    words: Mapping[Day, list[Word]]
    files: StoreFiles
    coverage: CoverageReport
    integrity: IntegrityReport
    is_adjusted: bool = False


def heal(world: Subject) -> Healed | str:
    """End all faults and carry out calm commands. Returns what is there then, or what prevented it."""
    world.disk.space = world.disk.inodes = None
    world.disk.read_only = False
    world.skew, world.standing = 0.0, False
    _clear_up(world)
    confirmations, heard = world.story.traits.confirmations, world.ledger.count
    symbols = [symbol.symbol for symbol in world.story.symbols]
    start = world.story.traits.start
    commands: list[tuple[str, Callable[[Pipeline], Any]]] = [("update", lambda p: p.update())]
    commands += [("ingest", lambda p: p.ingest())]
    commands += [("audit", lambda p: p.audit(symbols, start, "latest", adopt=True))]
    commands += [("ingest", lambda p: p.ingest())] * (confirmations + 1)
    for name, command in commands:
        world.scheduler.now += A_DAY
        outcome = world.ask(command)
        nothing_to_audit = (
            name == "audit" and isinstance(outcome.error, ConfigurationError) and not world.disk.files(DATA)
        )
        if outcome.ended != "returned" and not nothing_to_audit:
            return f"{name} {outcome.ended}: {type(outcome.error).__name__}: {outcome.error}"
    files, words = StoreFiles.on(world.disk), world.ledger.words_since(heard)
    outcome = world.ask(partial(_reports, bool(files.contents)))
    if outcome.ended != "returned":
        return f"verify and coverage {outcome.ended}: {type(outcome.error).__name__}: {outcome.error}"
    return Healed(words, files, *outcome.value, is_adjusted=world.story.traits.adjustment != "raw")


def _clear_up(world: Subject) -> None:
    """Remove the folders, links and pipes in the place of files, as ``verify`` tells people to.

    A power loss may have brought back what was there before.
    """
    for path in (path for path, how in world.damaged.items() if how == "replaced"):
        with suppress(FileNotFoundError, NotADirectoryError):
            mode = world.disk.outside.lstat(path).st_mode
            if stat.S_ISDIR(mode) and not world.disk.outside.listdir(path):
                world.disk.outside.rmdir(path)
            elif stat.S_ISLNK(mode) or stat.S_ISFIFO(mode):
                world.disk.outside.unlink(path)


def _reports(is_any_stored: bool, pipeline: Pipeline) -> tuple[CoverageReport, IntegrityReport]:
    try:
        return pipeline.coverage(), pipeline.verify()
    except ConfigurationError:
        if is_any_stored:
            raise
        return pipeline.coverage(), IntegrityReport(0, 0, ())  # a symbol may never have had a bar: nothing to look at


def heals(healed: Healed, memory: Memory, session: str, ended: int) -> Findings:
    """``ended``: the sessions before this moment, in microseconds since 1970, were final all the time."""
    yield from _bars(healed, memory, session, ended)
    for problem in healed.integrity.problems:
        is_foreign = problem.damage is Damage.FOREIGN or problem.path in memory.ever_damaged
        is_foreign |= VERSION_INDEX.fullmatch(problem.path) is not None and not memory.is_machine_well
        yield None if is_foreign else f"after calm commands {problem.path} {problem.reason} ({problem.damage})"
    for each in healed.coverage.days():
        day = str(each.symbol_day.symbol), str(each.symbol_day.trading_date)
        found = each.finding
        if not _is_judged(day, memory, ended):
            continue
        is_open = found.verdict in (Verdict.MISSING, Verdict.PARTIAL) or found.suspicion in OF_RECORDS
        if found.suspicion is Suspicion.STALE_AGGREGATE and any(map(_is_derived, memory.ever_damaged)):
            continue  # what is in the place of the file has to be moved away
        yield f"after calm commands {day[0]} {day[1]} is {found.verdict}: {found.detail}" if is_open else None


def _is_derived(path: str) -> bool:
    return path.startswith(("aggregates/", "copies/"))


def _bars(healed: Healed, memory: Memory, session: str, ended: int) -> Findings:
    for day, words in sorted(healed.words.items()):
        whole = [word for word in words if word.is_whole]
        if not whole or not _is_judged(day, memory, ended):
            continue
        wrong = [_differs(healed.files, word, session) for word in (whole if healed.is_adjusted else whole[-1:])]
        yield None if None in wrong else f"after calm commands {day[0]} {day[1]}: {wrong[-1]}"


def _differs(files: StoreFiles, word: Word, session: str) -> str | None:
    rows = files.rows(word.day)
    if not wanted_of(word, session):
        return None if rows is None else f"{len(rows)} bars are stored, and the provider has none"
    # an audit puts nothing into the quarantine
    rejected = files.rejected(word.day) | {row[0] for row in word.rows if not is_a_bar(row)}
    return differs(rows, word, session, rejected, is_final=True)


def _is_judged(day: Day, memory: Memory, ended: int) -> bool:
    found = all_sessions().get(day[1])
    is_final = found is not None and found.extended.end.plus(SETTLED_AFTER).epoch_micros <= ended
    return is_final and not memory.was_damaged(day)
