"""What holds of a store of imported bars: nothing can be requested for it, and each symbol has a range of its own."""

from __future__ import annotations

from collections.abc import Mapping

from marketpipe.config import PipelineConfig
from marketpipe.integration.domain.table_import import is_imported
from marketpipe.parts import Parts
from marketpipe.provider_registry import refuse_imported
from marketpipe.scoping import Spans, official_spans
from marketpipe.shared_kernel.domain.errors import DatasetMismatchError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import DISTANT_FUTURE, DISTANT_PAST, TradingDate

from . import composition, place_parts

Span = tuple[TradingDate, TradingDate]


def recorded_spans(parts: Parts) -> Spans:
    """Return the first and the last recorded date of each symbol, of its official days if it has no minutes."""
    state = place_parts.known_state(parts)
    requested = state.checkpoints.requested_spans()
    return {**official_spans(state.official_years, state.official_years.symbols() - requested.keys()), **requested}


def imported_spans(parts: Parts, *, has_start: bool, has_end: bool) -> Mapping[Symbol, Span]:
    """Return between which dates each symbol was imported: no others are expected unless a caller names them.

    Empty if bars are requested from a provider, or if a configuration names the dates.
    """
    if isinstance(parts.config, PipelineConfig) or not composition.holds_imported_bars(place_parts.known_state(parts)):
        return {}
    return {
        symbol: (DISTANT_PAST if has_start else first, DISTANT_FUTURE if has_end else last)
        for symbol, (first, last) in recorded_spans(parts).items()
    }


def refuse_other_import(parts: Parts) -> None:
    """Raise ``DatasetMismatchError`` if imported bars are configured, and others are stored, or the reverse."""
    provider, stored = getattr(parts.config, "provider", None), composition.known_identity(parts)
    if provider is None or stored is None or parts.market_data_provider is not None:
        return
    if provider != stored.provider and (is_imported(provider) or is_imported(stored.provider)):
        raise DatasetMismatchError(
            f"{parts.config.output_path} contains the dataset of {stored}, not that of {provider}. One folder is one "
            f"dataset: give another output_path, or provider: {stored.provider}"
        )


def refuse_requests(parts: Parts) -> None:
    """Raise ``ConfigurationError`` if no configuration would help: the store has bars of its user's own files."""
    if not isinstance(parts.config, PipelineConfig) and (dataset := place_parts.known_state(parts).dataset()):
        refuse_imported(dataset[0].provider)
