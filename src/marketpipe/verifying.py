"""The methods of ``Store`` that verify every byte, and freeze what a backtest reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import evolve

from marketpipe.config import StoreConfig
from marketpipe.parts import Parts
from marketpipe.run_recording import RunRecorder
from marketpipe.scoping import Symbols, refuse_unknown
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import AnyDate, SessionKind, TradingDate
from marketpipe.storage.domain.dataset_lock import DatasetLock
from marketpipe.storage.domain.integrity import IntegrityReport

from . import composition, side_rings

if TYPE_CHECKING:
    from marketpipe.storage.application.integrity_checker import OnSymbol


class VerifiableStore(Protocol):
    """What ``verify`` and ``freeze`` need of a ``Store``."""

    @property
    def config(self) -> StoreConfig: ...

    @property
    def _parts(self) -> Parts: ...

    _recorder: RunRecorder

    def _known_symbols(self) -> frozenset[Symbol]: ...

    def _named_range(
        self, symbols: Symbols | None, start: AnyDate | None, end: AnyDate | None
    ) -> tuple[tuple[Symbol, ...] | None, TradingDate, TradingDate]: ...

    def _recorded_session(self) -> SessionKind | None: ...


def verify(
    self: VerifiableStore,
    symbols: Symbols | None = None,
    start: AnyDate | None = None,
    end: AnyDate | None = None,
    *,
    lock: DatasetLock | None = None,
    on_symbol: OnSymbol = lambda _, __: None,
) -> IntegrityReport:
    """Read every byte and report files that are damaged, lost, unrecorded or foreign.

    ``start`` and ``end`` are trading dates, both inclusive; without arguments everything stored is read. Changes no
    bar. A damaged day whose size and time still agree with the record is marked as failed in the state, so that the
    next ``ingest`` requests it again. ``on_symbol`` is called before the first symbol and after each, with the number
    of those that are done and of all. With a ``lock`` only the frozen files are compared, with what was frozen, and
    ``on_symbol`` is not called.
    """
    from marketpipe.storage.application.integrity_checker import compare_with_lock

    chosen, first, last = self._named_range(symbols, start, end)
    if lock is None:
        refuse_unknown(chosen or (), self._known_symbols(), self.config.output_path)
        with self._recorder.run("verify") as ended:
            return ended(_verified(self._parts, chosen, first, last, on_symbol))
    if (symbols, start, end) != (None, None, None):
        raise ConfigurationError("a lock cannot be combined with symbols or dates: it names its own")
    return compare_with_lock(composition.new_stored_files(self._parts), lock)


def _verified(
    parts: Parts, chosen: tuple[Symbol, ...] | None, first: TradingDate, last: TradingDate, on_symbol: OnSymbol
) -> IntegrityReport:
    found = side_rings.new_integrity_checker(parts).check(chosen, first, last, on_symbol)
    side_rings.record_figures(parts, chosen, first, last)
    official = side_rings.official_problems(parts, chosen, first, last)
    report = evolve(found, problems=(*found.problems, *official))
    if not report.files and not report.problems:
        raise ConfigurationError("nothing was verified: no file of these symbols and dates exists or was recorded")
    return report


def freeze(
    self: VerifiableStore, symbols: Symbols | None = None, start: AnyDate | None = None, end: AnyDate | None = None
) -> DatasetLock:
    """Return the SHA-256 of every file that a backtest of these symbols and dates reads; keep its ``.text()``.

    ``start`` and ``end`` are trading dates, both inclusive. Raises ``StorageError`` for a damaged store and
    ``ConfigurationError`` if there is nothing to freeze.
    """
    chosen, first, last = self._named_range(symbols, start, end)
    refuse_unknown(chosen or (), self._known_symbols(), self.config.output_path)
    checker = side_rings.new_integrity_checker(self._parts)
    return checker.freeze(chosen, first, last, self._recorded_session())
