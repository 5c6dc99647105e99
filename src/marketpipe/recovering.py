"""The method of ``Store`` that makes a new state of the stored files."""

from __future__ import annotations

from typing import Protocol

from attrs import evolve

from marketpipe.ingestion.domain.store_status import RecoveryReport
from marketpipe.parts import Parts
from marketpipe.runs import Runs
from marketpipe.shared_kernel.domain.errors import ConfigurationError

from . import composition, place_parts, side_rings


class RecoverableStore(Protocol):
    """What ``recover`` needs of a ``Store``."""

    @property
    def _parts(self) -> Parts: ...

    _runs: Runs


def recover(self: RecoverableStore, *, force: bool = False) -> RecoveryReport:
    """Build a new state from the stored files if the old state is lost or damaged; ``force`` archives a good one.

    Days without bars leave no file: they will be asked for once more. Raises ``ConfigurationError`` if the state
    can be read, if there is neither a state nor a bar, or if there are files and none names its dataset, and
    ``StoreBusyError`` while an ingestion runs.
    """
    recoverer, parts = composition.new_recoverer(self._parts), self._parts
    recoverer.must_archive(force)  # refused before a lock file is made
    if not recoverer.has_state() and not composition.new_stored_files(parts).symbols():
        place = parts.config.output_path.absolute()
        raise ConfigurationError(f"nothing was recovered: no bars are stored at {place}, and there is no state")
    composition.stored_identity(parts).refuse_nameless()
    with self._runs.run(), place_parts.update_lock(parts).acquired():
        files, set_aside = composition.new_stored_files(parts), recoverer.archive_state(force)
        found = composition.stored_identity(parts).prevailing()
        symbols = sorted(files.symbols()) if found else []
        days = ((symbol, files.stored_days(symbol, found)) for symbol in symbols if found)
        for path in [*files.strays(), *(path for symbol in symbols for path in files.strays_of(symbol))]:
            files.remove_leftover(path)
        report = recoverer.recover(found, days, set_aside)
        recorded = 0 if found is None else side_rings.recover_official_days(parts, symbols, found)
        return evolve(report, official_days=recorded)
