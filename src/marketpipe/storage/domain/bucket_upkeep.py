"""What ``gc`` and ``copy`` report."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from attrs import frozen

USUAL_GRACE: Final = timedelta(hours=24)
LEAST_GRACE: Final = timedelta(hours=1)
"""Longer than any write lasts: between its object and its change of the catalog a write may have to wait for both."""


@frozen
class CollectionReport:
    """What ``gc`` removed, or would remove if ``dry_run``. ``kept`` are the objects that the catalog names.

    ``waiting`` are objects that no file is in, but younger than the grace time: a write that is under way may need
    them. ``others`` are former snapshots, and what else was left. ``snapshot`` is the key of the new one.
    """

    removed: int
    removed_bytes: int
    kept: int
    kept_bytes: int
    waiting: int
    waiting_bytes: int
    others: int
    snapshot: str | None
    dry_run: bool


@frozen
class StoreCopyReport:
    """What ``copy_store`` copied: ``files`` of ``size_bytes``, and ``rows`` of each table of the state.

    None of either if a copy that had been killed was whole already. ``already_there`` of the files were written by one
    that was killed before it had all of them.
    """

    source: str
    target: str
    files: int
    size_bytes: int
    rows: Mapping[str, int]
    already_there: int = 0
