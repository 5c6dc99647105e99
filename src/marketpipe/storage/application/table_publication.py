"""Publishing the minute bars of a store as a table: what it consists of is found first, then a version is written."""

from __future__ import annotations

from marketpipe.storage.application.ports import TablePublisher, TableSource
from marketpipe.storage.domain.published_table import PublicationReport


class TablePublication:
    """Publishes a table. One at a time may do so."""

    def __init__(self, source: TableSource, publisher: TablePublisher, place: str) -> None:
        self._source, self._publisher, self._place = source, publisher, place

    def publish(self) -> PublicationReport:
        """Let the table have the live bars of one moment. Raises ``StorageError`` and ``StateError``."""
        contents = self._source.contents()
        version = self._publisher.publish(contents.files)
        copied = set(contents.copied)
        return PublicationReport(
            self._place,
            version.number,
            len(contents.files),
            sum(file.figures.rows for file in contents.files),
            sum(file.size for file in contents.files),
            version.added,
            version.removed,
            len(copied),
            sum(file.size for file in contents.files if file.key in copied),
            contents.left,
        )

    def catch_up(self) -> None:
        """Let a catalog that was made again name what the table has. Raises ``StorageError`` and ``StateError``."""
        self._publisher.catch_up()
