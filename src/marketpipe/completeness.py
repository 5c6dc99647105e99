"""What ``load`` refuses or warns of: names that the store does not have, and a range of bars that is not complete."""

from __future__ import annotations

import math
import shlex
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast, get_args

from attrs import evolve

from marketpipe.config import StoreConfig
from marketpipe.ingestion.domain.coverage.verdict import Finding, Gap, Suspicion, Verdict
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.integration.domain.table_import import ONLY_FILES_BRING_MORE
from marketpipe.parts import Parts
from marketpipe.reports import doubt_of_names
from marketpipe.scoping import refuse_unknown, state_is_lost
from marketpipe.shared_kernel.domain.errors import (
    ConfigurationError,
    IncompleteError,
    IncompleteWarning,
    StateError,
    ValidationError,
    count_of,
    did_you_mean,
)
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate

from . import composition, coverage_parts, derived, place_parts

if TYPE_CHECKING:
    from marketpipe.ingestion.application.ingestion_planner import GapFinder

Complete = Literal["ignore", "warn", "require"]
IGNORE, WARN, REQUIRE = CHOICES = cast(tuple[Complete, Complete, Complete], get_args(Complete))
REFUSED: Final = (Verdict.MISSING, Verdict.PARTIAL, Verdict.SUSPECT)
"""What is short is not: the provider was asked again, and has no more."""
SHOWN: Final = 5
"""Gaps, and symbols of a command, that a message names."""
RECOVER: Final = "'marketpipe recover' makes one from the stored files"
PACKAGE: Final = __name__.partition(".")[0]


def as_complete(text: str) -> Complete:
    """Read ignore, warn or require. Raises ``ValidationError``."""
    for choice in CHOICES:
        if text == choice:
            return choice
    raise ValidationError(f"complete: {text!r} is not allowed; {did_you_mean(str(text), CHOICES)}")


def refuse_hours(stored: SessionKind | None, place: object) -> None:
    """Raise ``ConfigurationError`` if the extended hours are wanted of a store that holds the regular ones."""
    if stored is SessionKind.REGULAR:
        raise ConfigurationError(
            f"session: {place} holds regular sessions only; leave session out, or ingest with session: extended into "
            "another output_path"
        )


def refuse_unstored(
    parts: Parts,
    symbols: Sequence[Symbol],
    timeframe: Timeframe,
    as_of: Timestamp | None,
    known: Callable[[], Collection[Symbol]],
) -> None:
    """Raise ``ConfigurationError`` if the store has nothing of a symbol, or nothing to make its bars of ``timeframe``.

    With ``as_of`` those can be made of revisions, whatever is left of a dropped symbol. ``known`` returns all symbols
    that have a file or a record. It is called only if a symbol has no folder of minutes.
    """
    layout = place_parts.layout(parts)
    without = [symbol for symbol in symbols if not layout.has_folder(symbol)]
    if without:
        refuse_unknown(without, known(), parts.config.output_path)
        if as_of is None:
            refuse_unmade(parts, without, timeframe)


def refuse_without_minutes(parts: Parts, scope: IngestionScope, as_of: Timestamp | None) -> None:
    """Raise ``ConfigurationError`` if days made from minutes are wanted of symbols that have daily bars alone."""
    layout, loader = place_parts.layout(parts), derived.loader(parts)
    for symbol in scope.symbols:
        if layout.has_folder(symbol) or not layout.official_years(symbol):
            continue
        if as_of is None or not loader.dates_at(symbol, scope.first, scope.last, as_of):  # dropped ones are kept
            raise ConfigurationError(
                f"source: {parts.config.output_path} has no minutes of {symbol}; its days are the official ones: leave "
                'source out, or give "official"'
            )


def refuse_unmade(parts: Parts, symbols: Sequence[Symbol], timeframe: Timeframe) -> None:
    """Raise ``ConfigurationError`` if bars of other timeframes than this one are all that is left of a symbol."""
    for symbol in symbols:
        made = place_parts.layout(parts).timeframes_of(symbol)
        if made and timeframe not in made:
            near = min(made, key=lambda each: abs(math.log(each.minutes / timeframe.minutes)))
            raise ConfigurationError(
                f"timeframe: {parts.config.output_path} has no bars of {timeframe} of {symbol}, and no minutes to make "
                f"them from; did you mean '{near}'? It has {', '.join(map(str, made))}"
            )


def check(
    parts: Parts,
    scope: IngestionScope,
    timeframe: Timeframe,
    complete: Complete,
    new_finder: Callable[[], GapFinder],
    selected: SessionKind | None = None,
    as_of: Timestamp | None = None,
) -> None:
    """Warn of gaps in the range, or raise ``IncompleteError`` for them.

    A warning takes what a plan would request for the ``selected`` hours: so it costs little. To require takes all that
    ``coverage`` finds. With ``as_of`` a session that was not stored yet at that moment is missing too. ``new_finder``
    makes what finds the gaps of a plan.
    """
    if complete == IGNORE:
        return
    scope = evolve(scope, last=derived.last_day_of(scope.first, scope.last, timeframe))
    try:
        stored_hours = _stored_hours(parts)
        if complete == REQUIRE:
            found = _required(parts, evolve(scope, session_kind=stored_hours), timeframe)
        else:
            hours = (selected or stored_hours) if timeframe.is_intraday else SessionKind.REGULAR
            found = _planned(parts, evolve(scope, session_kind=hours), timeframe, new_finder)
        late = [] if as_of is None else _not_stored_yet(parts, scope, timeframe, as_of, found)
    except (StateError, ConfigurationError) as error:
        reason = f"it cannot be told whether {parts.config.output_path} is complete: {error}"
        if complete == REQUIRE:
            raise IncompleteError(reason) from error
        _warn(reason)
        return
    _report(parts, scope, complete, found, late)


def check_names(parts: Parts, scope: IngestionScope, complete: Complete) -> None:
    """Warn of symbols that were requested, and of which the provider has never had a bar: a name may be wrong."""
    if complete != IGNORE and (silent := symbols_without_bars(parts, scope.symbols)):
        _warn(doubt_of_names(silent))


def notices_of_state(parts: Parts) -> tuple[str, ...]:
    """Return that the state has no record of the bars that are stored, if it is so."""
    if place_parts.known_state(parts).dataset() is not None or composition.known_identity(parts) is None:
        return ()
    return (state_is_lost(parts.config.output_path),)


def symbols_without_bars(parts: Parts, symbols: Sequence[Symbol]) -> tuple[Symbol, ...]:
    """Return those of the symbols of which the provider was asked, and has never had a bar."""
    known, layout = place_parts.known_state(parts).checkpoints, place_parts.layout(parts)
    answered, stored = known.latest_settled(), known.stored_spans()
    silent = (symbol for symbol in symbols if symbol in answered and symbol not in stored)
    return tuple(symbol for symbol in silent if not layout.official_years(symbol))


def _stored_hours(parts: Parts) -> SessionKind:
    """Return the hours that the store holds. Raises ``StateError`` if it has no record of them."""
    if (dataset := place_parts.known_state(parts).dataset()) is None:
        raise StateError(f"there is no record of it in {parts.config.state_path}; {RECOVER}")
    return dataset[1]


def _report(parts: Parts, scope: IngestionScope, complete: Complete, found: Sequence[Gap], late: Sequence[Gap]) -> None:
    gaps = [*found, *late]
    if not gaps:
        return
    imported = composition.holds_imported_bars(place_parts.known_state(parts))
    advice = _advice(found, late, imported=imported, root=_place(parts.config))
    message = f"{_described(parts, scope, gaps)}\n{'; '.join(advice)}"
    if complete == REQUIRE:
        raise IncompleteError(message, gaps)
    _warn(f'{message}; complete="ignore" loads without this warning')


def _planned(
    parts: Parts, scope: IngestionScope, timeframe: Timeframe, new_finder: Callable[[], GapFinder]
) -> list[Gap]:
    """Return what a plan would request; aggregates that are stored have the bars of a file that was lost since."""
    layout = place_parts.layout(parts)
    reads_minutes = [symbol for symbol in scope.symbols if not layout.has_aggregates(symbol, timeframe)]
    finder = new_finder()
    return finder.gaps(scope, reads_minutes, by_day=not timeframe.is_intraday)


def _required(parts: Parts, scope: IngestionScope, timeframe: Timeframe) -> list[Gap]:
    state = place_parts.known_state(parts)
    assessed = coverage_parts.assessor(parts, state).assess(scope)
    found = [gap for symbol in assessed for gap in symbol.gaps() if gap.finding.verdict in REFUSED]
    return found if timeframe.is_intraday else coverage_parts.new_gap_finder(parts).without_days(scope, found)


def _not_stored_yet(
    parts: Parts, scope: IngestionScope, timeframe: Timeframe, as_of: Timestamp, named: Sequence[Gap]
) -> list[Gap]:
    """Return what was not stored at ``as_of``, or was and is lost; a lost day that is ``named`` is named once."""
    late, found = Finding(Verdict.MISSING, f"not stored yet at {as_of}"), dict[Symbol, dict[TradingDate, Finding]]()
    detail = f"what was stored at {as_of} is not in the store any more: its file was altered or removed since"
    lost = Finding(Verdict.SUSPECT, detail, Suspicion.ALTERED)
    loader = derived.loader(parts)
    for symbol in scope.symbols:
        now = composition.inventory(parts).dates(symbol, scope.first, scope.last)
        then = loader.dates_at(symbol, scope.first, scope.last, as_of)
        if not timeframe.is_intraday:  # an official day needs no minutes
            now |= loader.official_dates(symbol, scope.first, scope.last)
            then |= loader.official_dates(symbol, scope.first, scope.last, as_of)
        gone = loader.lost_dates(symbol, scope.first, scope.last, as_of)
        gaps = [gap for gap in named if gap.symbol == symbol]
        known = {date for date in gone if any(gap.first <= date <= gap.last for gap in gaps)}
        found[symbol] = {date: lost if date in gone else late for date in now - then - known}
    return coverage_parts.new_gap_finder(parts).gaps_on(scope, found)


def _described(parts: Parts, scope: IngestionScope, gaps: Sequence[Gap]) -> str:
    days = sum(gap.sessions for gap in gaps)
    wanted = f"{len(scope.symbols):,} symbols" if len(scope.symbols) > 1 else str(scope.symbols[0])
    more = [f"… and {len(gaps) - SHOWN:,} more"] if len(gaps) > SHOWN else []
    head = (
        f"{parts.config.output_path} is not complete for {wanted} from {scope.first} to {scope.last}: "
        f"{count_of(days, 'symbol-day')}"
    )
    return "\n  ".join([head, *map(str, gaps[:SHOWN]), *more])


def _place(config: StoreConfig) -> Path:
    """Return the --root of a command that is to work on this store; that of commands here if none would find it."""
    is_usual = config.root == Path() and config.read_from is None and config.output_path.name == "data"
    return config.output_path.parent if is_usual else config.root


def _advice(found: Sequence[Gap], late: Sequence[Gap], *, imported: bool, root: Path) -> Iterator[str]:
    """Yield the commands that fill the gaps and show them; what was stored too late is no gap any more."""
    if late:
        yield "a later as_of has more"
    if found:
        symbols = sorted({str(gap.symbol) for gap in found})
        some = f"--symbols {','.join(symbols)} " if len(symbols) <= SHOWN else ""
        place = "" if root == Path() else f"--root {shlex.quote(str(root))} "
        options = f"{place}{some}--start {min(gap.first for gap in found)} --end {max(gap.last for gap in found)}"
        suspicions = {gap.finding.suspicion for gap in found if gap.finding.suspicion is not None}
        retry = any(each.asking_helps and each is not Suspicion.ALTERED for each in suspicions)
        more = f"'marketpipe ingest {options}{' --retry-suspect' if retry else ''}' requests them"
        yield ONLY_FILES_BRING_MORE if imported else more
        yield f"'marketpipe coverage {options}' shows all of them"


def _warn(message: str) -> None:
    """Warn, on the line of the first caller outside of this package."""
    frame, level = sys._getframe(1), 2
    while (above := frame.f_back) is not None and frame.f_globals.get("__name__", "").partition(".")[0] == PACKAGE:
        frame, level = above, level + 1
    warnings.warn(message, IncompleteWarning, stacklevel=level)
