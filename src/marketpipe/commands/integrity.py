"""The commands that look at the bytes of a store, and at what is written down of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marketpipe.commands.options import Config, End, Json, Start, Symbols, listed
from marketpipe.commands.process import leave, store_of

if TYPE_CHECKING:
    from marketpipe.storage.domain.dataset_lock import DatasetLock


def verify(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    lock: Annotated[Path | None, typer.Option("--lock", help="A file that 'marketpipe freeze' has written.")] = None,
    json: Json = False,
) -> None:
    """Read every byte, and say what is damaged, lost or foreign.

    Or with --lock, prove that the frozen files are the very same. Exit code 1 where anything is wrong.
    """
    from marketpipe.terminal.reports import print_integrity

    frozen = None if lock is None else _lock_in(lock)
    with store_of(config) as pipeline:
        report = pipeline.verify(listed(symbols), start, end, lock=frozen)
    print_integrity(report, frozen, as_json=json)
    leave(report.ok)


def freeze(
    config: Config = None, symbols: Symbols = None, start: Start = None, end: End = None, json: Json = False
) -> None:
    """Print a lock: the hash of the dataset and of each of its files.

    For 'marketpipe verify --lock', later or elsewhere. A damaged store is not frozen.
    """
    from marketpipe.terminal.reports import print_lock

    with store_of(config) as pipeline:
        print_lock(pipeline.freeze(listed(symbols), start, end), as_json=json)


def recover(
    config: Config = None,
    force: Annotated[bool, typer.Option("--force", help="Set a state aside that can be read.")] = False,
    json: Json = False,
) -> None:
    """Build the state anew from the stored files.

    Where it is lost or damaged; what lay there is set aside. Exit code 1 where files are damaged.
    """
    from marketpipe.terminal.reports import print_recovery

    with store_of(config) as pipeline:
        report = pipeline.recover(force=force)
    print_recovery(report, as_json=json)
    leave(report.ok)


def _lock_in(file: Path) -> DatasetLock:
    from marketpipe.shared_kernel.domain.errors import ConfigurationError
    from marketpipe.storage.domain.dataset_lock import DatasetLock

    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read as a lock: {error}") from error
    try:
        return DatasetLock.parse(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error}") from error
