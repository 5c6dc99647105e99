from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.infrastructure.session_table import SessionTable

AT_MOST_BYTES: Final = 1 << 20


class RememberedTable:
    """The sessions of an exchange, kept in a file so that other processes need not ask exchange_calendars for them.

    A file that is damaged, somebody else's, or does not reach far enough is made anew. Where it cannot be written, as
    in a folder that is read-only, nothing is remembered and nothing fails.
    """

    def __init__(
        self,
        file: Path,
        beside: Path,
        title: str,
        find_table: Callable[[int], SessionTable],
        publish: Callable[[Mapping[Path, bytes]], None],
    ) -> None:
        """The file is written only where ``beside`` lies already: a folder without a store is nobody's to write into.

        ``title`` says what the table was made from: another one is another table. See ADR 0016.
        """
        self._file, self._beside, self._title = file, beside, title
        self._find_table, self._publish = find_table, publish
        self._unwritten: SessionTable | None = None

    def __call__(self, last_year: int) -> SessionTable:
        remembered = self._read()
        if remembered is not None and last_year in remembered.years:
            return remembered
        found = self._unwritten = self._find_table(last_year)
        self.keep()
        return found

    def keep(self) -> None:
        """Writes what was not written yet, for want of what it belongs beside."""
        if self._unwritten is None or not self._beside.is_file():
            return
        try:
            self._publish({self._file: self._unwritten.encode(self._title)})
        except StorageError:
            return
        self._unwritten = None

    def _read(self) -> SessionTable | None:
        if not self._file.is_file():  # whoever opens a pipe waits for ever
            return None
        try:
            with self._file.open("rb") as file:
                return SessionTable.decode(file.read(AT_MOST_BYTES), self._title)
        except OSError:
            return None
