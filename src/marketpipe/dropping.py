"""The method of ``Store`` that drops symbols: their bars become revisions, and what is made of them is removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from marketpipe.config import StoreConfig
from marketpipe.ingestion.application.leases import leased_for_removal
from marketpipe.ingestion.domain.store_status import DropReport
from marketpipe.parts import Parts
from marketpipe.runs import Runs
from marketpipe.scoping import Symbols, refuse_unknown
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import DISTANT_FUTURE, DISTANT_PAST, EVERY_YEAR

from . import composition, place_parts, side_rings

DAYS_AT_A_TIME: Final = 250


class DroppableStore(Protocol):
    """What ``drop`` needs of a ``Store``."""

    @property
    def config(self) -> StoreConfig: ...

    @property
    def _parts(self) -> Parts: ...

    _runs: Runs

    def _chosen(self, symbols: Symbols) -> tuple[Symbol, ...]: ...

    def _known_symbols(self) -> frozenset[Symbol]: ...


def drop(self: DroppableStore, symbols: Symbols, *, dry_run: bool = False) -> DropReport:
    """Drop symbols: remove their bars and aggregates, and forget that they were requested.

    Minute bars and official days stay as revisions: with ``as_of``, ``load`` returns them as before. Rejected bars stay
    in quarantine. A later ``ingest`` that names a symbol requests it again; so remove it from the configuration too.
    With ``dry_run`` the report is returned and nothing is changed. If it is killed, call it again to finish.

    Raises ``ConfigurationError`` for symbols that the store does not know, and ``StoreBusyError`` while another process
    updates the store or works on days of a symbol: that symbol is then as it was.
    """
    parts, chosen = self._parts, self._chosen(symbols)
    refuse_unknown(chosen, self._known_symbols(), self.config.output_path)
    if dry_run:
        return _report(parts, chosen)
    with self._runs.run(), place_parts.update_lock(parts).acquired(), place_parts.aggregation_lock(parts).acquired():
        report, identity = _report(parts, chosen), _identity(parts)
        for symbol in chosen:
            with leased_for_removal(place_parts.state(parts).leases, _days(parts, symbol), parts.clock):
                _drop(parts, symbol, identity)
        composition.scanned_years(parts).forget()
    return report


def _drop(parts: Parts, symbol: Symbol, identity: DatasetIdentity) -> None:
    """Drop one symbol. The state forgets it last, so that what a crash leaves is found and dropped by another call."""
    state, removal = place_parts.state(parts), side_rings.new_symbol_removal(parts)
    removal.remove_derived(symbol)  # first: aggregates must not outlive their minutes
    stored = composition.new_bar_store(parts, identity)
    days = _days(parts, symbol)
    for start in range(0, len(days), DAYS_AT_A_TIME):
        stored.withdraw(days[start : start + DAYS_AT_A_TIME])
    with side_rings.official_lock(parts).acquired():
        side_rings.new_official_files(parts, identity).withdraw(symbol)
        state.official_years.forget(symbol)
    state.checkpoints.forget(symbol)
    removal.prune(symbol)


def _report(parts: Parts, symbols: Sequence[Symbol]) -> DropReport:
    days = sum(len(_days(parts, symbol)) for symbol in symbols)
    summaries = place_parts.known_state(parts).statistics.summaries()
    bars = sum(each.bars for each in summaries if each.symbol in symbols)
    official = composition.stored_official_days(parts, place_parts.known_state(parts))
    known = (len(year) for symbol in symbols for year in official.answered(symbol, *EVERY_YEAR).values())
    return DropReport(tuple(symbols), days, bars, sum(known))


def _days(parts: Parts, symbol: Symbol) -> Sequence[SymbolDay]:
    """Return the days of a symbol that have a file or a record, ascending."""
    recorded = place_parts.known_state(parts).checkpoints.between(symbol, DISTANT_PAST, DISTANT_FUTURE)
    stored = composition.stored_bars(parts).stored_days([symbol], DISTANT_PAST, DISTANT_FUTURE)
    return sorted({*stored, *(SymbolDay(symbol, date) for date in recorded)})


def _identity(parts: Parts) -> DatasetIdentity:
    if (found := composition.known_identity(parts)) is None:
        raise ConfigurationError(
            f"{parts.config.output_path} holds nothing that states its dataset; 'marketpipe recover' rebuilds the state"
        )
    return found
