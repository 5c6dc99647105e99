"""The method of ``Store`` that makes a new state of the stored files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from attrs import evolve

from marketpipe.config import DATA, is_on_disk, url_of
from marketpipe.ingestion.domain.store_status import RecoveryReport
from marketpipe.parts import Parts
from marketpipe.runs import Runs
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.symbol import Symbol

from . import composition, place_parts, side_rings, store_locks, transfer_parts

if TYPE_CHECKING:
    from marketpipe.ingestion.application.recovery import StateRecoverer
    from marketpipe.storage.application.integrity_checker import OnSymbol


class RecoverableStore(Protocol):
    """What ``recover`` needs of a ``Store``."""

    @property
    def _parts(self) -> Parts: ...

    _runs: Runs


def recover(self: RecoverableStore, *, force: bool = False, on_symbol: OnSymbol = lambda _, __: None) -> RecoveryReport:
    """Build a new state from the stored files if the old state is lost or damaged; ``force`` archives a good one.

    Of a store in a bucket the objects tell which files there are: the newest snapshot that ``gc`` wrote, and all that
    was put since; the log of a published table tells what that consists of. Days without bars leave no file: they will
    be asked for once more. ``on_symbol`` is called before the first symbol and after each, with the number of those
    that are done and of all.

    Raises ``ConfigurationError`` if the state can be read, if a copy into the store has not ended, if there is neither
    a state nor a bar, or if there are files and none names its dataset, and ``StoreBusyError`` while an ingestion runs,
    or while a bucket is collected or published.
    """
    recoverer, parts = composition.new_recoverer(self._parts), self._parts
    recoverer.must_archive(force)  # refused before a lock file is made
    transfer_parts.refuse_part_of_a_copy(parts)
    if not is_on_disk(parts.config.output_path):
        # gc and publish-delta too: while the state is away, they would find a catalog that names no object
        not_collected = place_parts.store_lock(parts, store_locks.GC, waits=False)
        with self._runs.run(), place_parts.update_lock(parts).acquired(), not_collected.acquired():
            set_aside = _with_catalog(parts, recoverer, force=force)
            return _recorded(parts, composition.new_recoverer_knowing(parts), set_aside, on_symbol)
    if not recoverer.has_state() and not composition.new_stored_files(parts).symbols():
        raise _nothing_stored(parts)
    composition.stored_identity(parts).refuse_nameless()
    with self._runs.run(), place_parts.update_lock(parts).acquired():
        return _recorded(parts, recoverer, recoverer.archive_state(force), on_symbol)


def _with_catalog(parts: Parts, recoverer: StateRecoverer, *, force: bool) -> str | None:
    """Archive the state, and let the new one know which files there are; everything is read, and tried, before."""
    found = place_parts.new_recovered_catalog(parts)
    if not recoverer.has_state() and not found.has_any(DATA):
        raise _nothing_stored(parts)
    place_parts.try_bucket(parts)
    set_aside = recoverer.archive_state(force)
    place_parts.forget_state(parts)
    found.write(place_parts.state(parts).file_catalog)
    place_parts.probe_bucket(parts)  # from now on the bucket has this state: gc with another would remove what it has
    place_parts.new_table_publication(parts).catch_up()  # gc would remove objects that only a published table names
    composition.stored_identity(parts).refuse_nameless()
    return set_aside


def _nothing_stored(parts: Parts) -> ConfigurationError:
    place = url_of(parts.config.output_path.absolute())
    return ConfigurationError(f"nothing was recovered: no bars are stored at {place}, and there is no state")


def _recorded(parts: Parts, recoverer: StateRecoverer, set_aside: str | None, on_symbol: OnSymbol) -> RecoveryReport:
    files, found = composition.new_stored_files(parts), composition.stored_identity(parts).prevailing()
    symbols = sorted(files.symbols()) if found else []
    days = ((symbol, files.stored_days(symbol, found)) for symbol in _each(symbols, on_symbol) if found)
    for path in [*files.strays(), *(path for symbol in symbols for path in files.strays_of(symbol))]:
        files.remove_leftover(path)
    report = recoverer.recover(found, days, set_aside)
    recorded = 0 if found is None else side_rings.recover_official_days(parts, symbols, found)
    return evolve(report, official_days=recorded)


def _each(symbols: Sequence[Symbol], on_symbol: OnSymbol) -> Iterator[Symbol]:
    """Yield the symbols; each is done when the next one is wanted."""
    on_symbol(0, len(symbols))
    for done, symbol in enumerate(symbols, 1):
        yield symbol
        on_symbol(done, len(symbols))
