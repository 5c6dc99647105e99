"""The scope of a command: the symbols and dates that a caller gives, completed from the configuration or the state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from attrs import evolve

from marketpipe.config import LATEST, PipelineConfig, StoreConfig, expanded
from marketpipe.ingestion.domain.ingestion_plan import LONGEST_CLOSURES, IngestionScope
from marketpipe.ingestion.domain.official_days import RECENT_SESSIONS
from marketpipe.ingestion.domain.store_status import JobRecord
from marketpipe.shared_kernel.domain.errors import ConfigurationError, count_of
from marketpipe.shared_kernel.domain.store_inventory import OfficialYearRegister
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay, as_symbols, canonical
from marketpipe.shared_kernel.domain.trading_date import (
    EVERY_YEAR,
    AnyDate,
    SessionKind,
    TradingCalendar,
    TradingDate,
    as_trading_date,
)

CLOSE: Final = 0.5
SHOWN: Final = 10
Symbols = str | Symbol | Iterable[str | Symbol]
Spans = Mapping[Symbol, tuple[TradingDate, TradingDate]]
"""The first and the last date for which each symbol was ever requested, both inclusive."""
Newest = Callable[[], TradingDate]
"""Returns the trading date of the newest final session. Called only if it is needed: it reads the calendar."""


def resolved(value: AnyDate, newest: Newest) -> TradingDate:
    """Return the trading date that a caller or a configuration gave. Raises ``ValidationError``."""
    return newest() if isinstance(value, str) and value == LATEST else as_trading_date(value)


WRITING_CANONICALLY: Final = ("alpaca", "synthetic")
"""Providers whose symbols are in the canonical form. Others may list BRK-B, or BTC-USD."""


def chosen_symbols(
    symbols: Symbols, config: StoreConfig, stored: Callable[[], Collection[Symbol]]
) -> tuple[Symbol, ...]:
    """Return the symbols of lists and of other spellings as the store and its provider write them.

    What is stored under exactly this name is meant; else what is stored in the canonical form, which is also how
    built-in providers are asked. ``stored`` is called only if a symbol is not in that form. Raises ``ValidationError``
    for what is no symbol, and ``ConfigurationError`` for none and for a list that the configuration does not name.
    """
    named = expanded(symbols, config.symbol_lists)
    if not named:
        raise ConfigurationError("symbols: name at least one")
    forms = {symbol: canonical(symbol) for symbol in named}
    if all(symbol == form for symbol, form in forms.items()):
        return named
    known, asks = stored(), getattr(config, "provider", None) in WRITING_CANONICALLY
    return as_symbols(
        form if symbol not in known and (form in known or asks) else symbol for symbol, form in forms.items()
    )


def configured_scope(
    config: PipelineConfig, newest: Newest, symbols: Symbols | None, start: AnyDate | None, end: AnyDate | None
) -> IngestionScope:
    """Complete the arguments from the configuration.

    Raises ``ConfigurationError`` for no symbols, and for an end before the start.
    """
    wanted = config.end if end is None else end
    first, last = resolved(config.start if start is None else start, newest), resolved(wanted, newest)
    if isinstance(wanted, str) and wanted == LATEST and last < first:
        raise ConfigurationError(f"end: latest is {last}, the newest final session, which is before start {first}")
    return IngestionScope(config.symbols if symbols is None else as_symbols(symbols), first, last, config.session)


def official_spans(register: OfficialYearRegister, symbols: Iterable[Symbol]) -> Spans:
    """Return the first and the last official day that each symbol has an answer for; symbols without any are absent."""
    found = dict[Symbol, tuple[TradingDate, TradingDate]]()
    for symbol in symbols:
        years = [year.answered for year in register.years(symbol, *EVERY_YEAR).values() if year.answered.bits]
        if years:  # they ascend
            found[symbol] = years[0].dates[0], years[-1].dates[-1]
    return found


def recorded_scope(
    spans: Spans,
    jobs: Sequence[JobRecord],
    kind: SessionKind,
    newest: Newest,
    symbols: Symbols | None,
    start: AnyDate | None,
    end: AnyDate | None,
    place: Path,
) -> IngestionScope:
    """Complete the arguments from the state of the store at ``place``: by default all that any job ever requested.

    Raises ``ConfigurationError`` if nothing was ever requested and an argument is missing.
    """
    if not spans and (symbols is None or start is None or end is None):
        why = f"nothing was ever ingested or imported at {place.absolute()}"
        if jobs:
            why = f"nothing is stored at {place.absolute()}: all symbols were dropped, or no ingestion got far enough"
        raise ConfigurationError(
            f"{why}: give a configuration, or symbols, start and end. If bars are stored there and the state was lost, "
            "'marketpipe recover' rebuilds it"
        )
    ranges = [*spans.values(), *((job.first, job.last) for job in jobs)]
    first = min(first for first, _ in ranges) if start is None else resolved(start, newest)
    last = max(last for _, last in ranges) if end is None else resolved(end, newest)
    return IngestionScope(list(spans) if symbols is None else as_symbols(symbols), first, last, kind)


def state_is_lost(place: Path) -> str:
    """Return what is to be known of a store with bars and without a record of any."""
    return (
        f"bars are stored at {place.absolute()}, and the state has no record of them: if it was lost, 'marketpipe "
        "recover' rebuilds it, and then only what is missing is requested"
    )


def no_store_at(place: Path) -> str:
    """Return that there is nothing; a relative path often begins in another folder than the one that was meant."""
    why = "" if place.is_absolute() else "; relative paths begin in the current folder, or in root (--root)"
    return f"there is no store at {place.absolute()}: no bars are stored there, and none were ever requested{why}"


def refuse_unknown(named: Iterable[Symbol], known: Collection[Symbol], place: Path) -> None:
    """Raise ``ConfigurationError`` if the store at ``place`` has nothing, or nothing of a symbol that was named.

    A check that found nothing to check must not be taken for one that found nothing wrong.
    """
    if not known:
        raise ConfigurationError(
            f"{no_store_at(place)}. Run 'marketpipe ingest' or 'marketpipe import' first, or name the configuration of "
            "the store"
        )
    unknown = [symbol for symbol in named if symbol not in known]
    if unknown:
        names = [str(symbol) for symbol in known]
        near = get_close_matches(str(unknown[0]), names, n=1, cutoff=CLOSE)
        listed = ", ".join(map(str, unknown[:SHOWN])) + (" …" if len(unknown) > SHOWN else "")
        advice = (
            f"did you mean {near[0]!r}?"
            if near
            else f"it has {count_of(len(names), 'symbol')}; 'marketpipe status' lists what it has"
        )
        raise ConfigurationError(f"the store at {place} has nothing of {listed}: {advice}")


def extended_to_the_last(scope: IngestionScope, spans: Spans) -> IngestionScope:
    """Extend the scope to the last date requested for one of its symbols: an update goes beyond the configured end."""
    latest = [spans[symbol][1] for symbol in scope.symbols if symbol in spans]
    return evolve(scope, last=max([scope.last, *latest]))


def recent_sessions(calendar: TradingCalendar, start: TradingDate, newest: TradingDate) -> TradingDate:
    """Return the date of the first of the last five sessions up to ``newest``, but none before ``start``."""
    first = newest.plus_days(-LONGEST_CLOSURES[0])
    dates = [session.trading_date for session in calendar.reaching(first, newest)]
    return max([start, *dates[-RECENT_SESSIONS:][:1]])


def extended_back_to(scope: IngestionScope, days: Collection[SymbolDay]) -> IngestionScope:
    """Let the symbols of these days begin with them, if they would begin later."""
    since = dict(scope.since)
    for day in days:
        since[day.symbol] = min(scope.first_of(day.symbol), since.get(day.symbol, scope.last), day.trading_date)
    return evolve(scope, first=min([scope.first, *since.values()]), since=since)


def update_scope(
    config: PipelineConfig,
    newest: TradingDate,
    settled: Mapping[Symbol, TradingDate],
    symbols: Symbols | None,
    recheck: TradingDate | None = None,
) -> IngestionScope:
    """Begin at each symbol's last settled session, or at the configured start; end at the newest final session.

    The last settled session is included: what is settled needs no request. If official days are checked again from
    ``recheck`` on, no symbol begins later: minutes of those days may have to be requested again. Raises
    ``ConfigurationError`` if no session since the configured start is final.
    """
    chosen = config.symbols if symbols is None else as_symbols(symbols)
    latest, start = newest if recheck is None else min(newest, recheck), resolved(config.start, lambda: newest)
    since = {symbol: min(latest, settled.get(symbol, start)) for symbol in chosen}
    if newest < start:
        raise ConfigurationError(f"start: {start} is after {newest}, the newest final session")
    return IngestionScope(chosen, min(since.values()), newest, config.session, since)
