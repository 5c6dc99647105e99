"""The rows of a state, with other places of its files: a store that is copied has them elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from attrs import field, frozen

from marketpipe.ingestion.infrastructure.sql.database import Row
from marketpipe.ingestion.infrastructure.sql.state_rows import APPENDED, PLACED, ReadRows, StateRows, Table, WrittenRows
from marketpipe.shared_kernel.domain.object_catalog import PlacedFile


@frozen
class RowsWithFiles:
    """``StateRows`` that are read from another one, but for the files. ``check`` is called at that moment."""

    rows: StateRows
    files: Sequence[PlacedFile] = field(repr=False)
    check: Callable[[], None]

    @property
    def place(self) -> str:
        return self.rows.place

    def refuse_absent(self) -> None:
        self.rows.refuse_absent()

    @contextmanager
    def reading(self) -> Iterator[ReadRows]:
        with self.rows.reading() as rows:
            self.check()
            yield _Read(rows, sorted(map(_row_of, self.files), key=lambda row: row[:2]))

    @contextmanager
    def writing(self) -> Iterator[WrittenRows]:
        with self.rows.writing() as rows:
            yield rows

    def refuse_use(self) -> None:
        self.rows.refuse_use()


@frozen
class _Read:
    of_state: ReadRows
    of_files: Sequence[Row]

    def store(self) -> Row:
        return self.of_state.store()

    def rows(self, table: Table) -> Iterator[Row]:
        if table.name == APPENDED:  # those who read the files have read them whole
            return iter(())
        return iter(self.of_files) if table.name == PLACED else self.of_state.rows(table)


def _row_of(file: PlacedFile) -> Row:
    folder, slash, name = file.path.rpartition("/")
    return folder + slash, name, file.object, file.offset, file.size, file.modified_ns, file.content
