"""The method of ``Store`` that copies its state to another place."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from attrs import evolve

from marketpipe.config import StoreConfig
from marketpipe.config.places import url_of
from marketpipe.ingestion.domain.store_status import StateCopyReport
from marketpipe.parts import Parts, check_packages
from marketpipe.runs import Runs
from marketpipe.shared_kernel.domain.errors import ConfigurationError

from . import place_parts


class StoreWithAState(Protocol):
    """What ``copy_state`` needs of a ``Store``."""

    @property
    def config(self) -> StoreConfig: ...

    @property
    def _parts(self) -> Parts: ...

    _runs: Runs


def copy_state(self: StoreWithAState, target: str | Path) -> StateCopyReport:
    """Copy the state of this store, with its history, into a SQLite file or a database at ``postgresql://…``.

    Nothing is changed here; the store uses the copy once its configuration names it as ``state_path``. Every row is
    compared with its copy before anything is committed. Killed before that, nothing is there, and the same call begins
    again. What ``verify`` records beside it may be missing from the copy: verify again with that one.

    Raises ``ConfigurationError`` if the store has no state here or has one there, and ``StoreBusyError`` while a
    process changes the store, or works with either state.
    """
    copied = evolve(self.config, state_path=target)
    check_packages(copied)
    source, place = (url_of(config.state_path) for config in (self.config, copied))
    if source == place:
        raise ConfigurationError(f"{source} is where the state is already: name another place")
    if place_parts.has_opened_state(self._parts):
        raise ConfigurationError("this pipeline has its state open already: copy it with a new one")
    place_parts.state_rows(self.config, self._parts.machine).refuse_absent()  # before a lock file is made
    with self._runs.run(), place_parts.without_changes(self._parts):
        return StateCopyReport(source, place, place_parts.copy_state(self._parts, copied))
