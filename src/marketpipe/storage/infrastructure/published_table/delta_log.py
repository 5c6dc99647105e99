"""A Delta table: its log, which names the objects that it consists of. See https://github.com/delta-io/delta/blob/
master/PROTOCOL.md.

Each commit is put on the condition that there is none of its number, as everything in a bucket is; so this needs no
package. The catalog has what the table consists of too: rows under ``tables/delta/now/`` for the objects of its newest
version, under ``tables/delta/next/`` for those of one that is being committed, and under ``tables/delta/former/`` for
those that have left it. So ``gc`` keeps them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from attrs import define

from marketpipe.shared_kernel.domain.errors import ObjectLostError, StorageError
from marketpipe.shared_kernel.domain.object_catalog import CatalogChange, FileCatalog, PlacedFile
from marketpipe.storage.domain.published_table import BETWEEN_VERSIONS, KEPT, TableFile, TableVersion
from marketpipe.storage.infrastructure.objects.object_store import PACKS, TABLES, ObjectStore
from marketpipe.storage.infrastructure.published_table.delta_checkpoint import VERSIONS, checkpoint

ROOT: Final = f"{PACKS}{TABLES}"
"""The folder of the table. Its files are named relative to it: readers in Python know no others."""
LOG: Final = "_delta_log/"
NOW, NEXT, FORMER = "tables/delta/now/", "tables/delta/next/", "tables/delta/former/"
VERSION: Final = "tables/delta/version"
FEATURE: Final = "marketpipe"
"""A feature that no other writer supports. So none optimizes or vacuums what this store alone may change; readers need
not know it."""
NS_A_SECOND: Final = 1_000_000_000
DOUBLES: Final = ("open", "high", "low", "close", "volume")
TYPES: Final = {
    "symbol": "string",
    "trading_date": "date",
    "timestamp": "timestamp",
    **dict.fromkeys(DOUBLES, "double"),
    "trade_count": "long",
    "vwap": "double",
    "schema_version": "integer",
}
Action = Mapping[str, Any]


@define(eq=False)
class DeltaLog:
    """``TablePublisher``. ``place`` names the table, so that it has the same identity for ever."""

    catalog: FileCatalog
    store: ObjectStore
    place: str
    now_ns: Callable[[], int]
    sleep: Callable[[float], None]

    def publish(self, files: Collection[TableFile]) -> TableVersion:
        number, former = self.catch_up()
        wanted = {file.key: file for file in files}
        added = [file for key, file in wanted.items() if key not in former]
        removed = [file for key, file in former.items() if key not in wanted]
        if number >= 0 and not added and not removed:
            self._forget(wanted)
            return TableVersion(number, 0, 0)
        # Before the log names them: from then on nothing may remove them.
        sizes = {file.key: file.size for file in added}
        self.catalog.change(CatalogChange(placed=[_entry(NEXT, key, sizes[key], self.now_ns()) for key in sizes]))
        self._commit(number + 1, [*self._first(number), *map(self._remove, removed), *map(_add, added)])
        self._record(number + 1, sizes, [file.object for file in removed])
        self._put_checkpoint(number + 1, files)
        self._forget(wanted)
        return TableVersion(number + 1, len(added), len(removed))

    def catch_up(self) -> tuple[int, dict[str, PlacedFile]]:
        """Return the newest version, -1 if there is none, and its objects by their keys: the catalog names them then.

        A publisher that was killed may have committed a version that the catalog does not know, and a catalog that was
        made again of the objects knows none that was committed since its snapshot.
        """
        recorded = self.catalog.find(VERSION)
        number = -1 if recorded is None else int(recorded.content or b"")
        while (actions := self._read(number + 1)) is not None:
            number += 1
            added = {ROOT + each["path"]: each["size"] for each in _of(actions, "add")}
            self._record(number, added, [ROOT + each["path"] for each in _of(actions, "remove")])
        return number, {file.object: file for file in self.catalog.below(NOW.rstrip("/"))}

    def _read(self, number: int) -> list[Action] | None:
        try:
            content = self.store.get(_key(number))
        except ObjectLostError:
            return None
        return [json.loads(line) for line in content.splitlines() if line]

    def _commit(self, number: int, actions: Iterable[Action]) -> None:
        self._wait()
        info = {"timestamp": self._moment() // 1_000_000, "operation": "WRITE", "engineInfo": "marketpipe"}
        lines = [{"commitInfo": info}, *actions]
        content = "\n".join(json.dumps(line, separators=(",", ":")) for line in lines).encode()
        if not self.store.put_new(_key(number), content):
            raise StorageError(f"{_key(number)} was written by another publisher; nothing was changed, try again")

    def _put_checkpoint(self, number: int, files: Collection[TableFile]) -> None:
        """Put a checkpoint if one is due. One that a killed publisher has not put is left out: the log is enough."""
        if number == 0 or number % VERSIONS:
            return
        first = self._read(0)
        if first is not None:
            actions = [{kind: each} for kind in ("protocol", "metaData") for each in _of(first, kind)]
            content = checkpoint([*actions, *({"add": {**_add(file)["add"], "dataChange": False}} for file in files)])
            self.store.put_new(f"{ROOT}{LOG}{number:020}.checkpoint.parquet", content)

    def _wait(self) -> None:
        """Wait until the last version is old enough; the whole time if it is of a later moment: a clock went back."""
        recorded = self.catalog.find(VERSION)
        if recorded is not None:
            passed = max(0, self.now_ns() - recorded.modified_ns) / NS_A_SECOND
            if passed < BETWEEN_VERSIONS.total_seconds():
                self.sleep(BETWEEN_VERSIONS.total_seconds() - passed)

    def _moment(self) -> int:
        """Return the present moment, or that of the last version if it is later: its times tell readers their order."""
        recorded = self.catalog.find(VERSION)
        return self.now_ns() if recorded is None else max(self.now_ns(), recorded.modified_ns)

    def _record(self, number: int, added: Mapping[str, int], removed: Iterable[str]) -> None:
        """Record a version, with the sizes of the objects that it has more; former ones are kept for a while."""
        moment = self._moment()
        gone = [file for key in removed if (file := self.catalog.find(NOW + key)) is not None]
        former = [_entry(FORMER, file.object, file.size, moment) for file in gone]
        now = [_entry(NOW, key, size, moment) for key, size in added.items()]
        next_ones = [file.path for file in self.catalog.below(NEXT.rstrip("/"))]
        version = PlacedFile.inline(VERSION, str(number).encode(), moment)
        self.catalog.change(CatalogChange([version, *now, *former], [*next_ones, *(file.path for file in gone)]))

    def _forget(self, here: Collection[str]) -> None:
        """Let go of objects that have left the table long ago, or have come back to it and are here again."""
        before = self.now_ns() - int(KEPT.total_seconds()) * NS_A_SECOND
        old = [
            file.path
            for file in self.catalog.below(FORMER.rstrip("/"))
            if file.modified_ns < before or file.object in here
        ]
        if old:
            self.catalog.change(CatalogChange(removed=old))

    def _first(self, number: int) -> list[Action]:
        """Return what a table begins with; nothing if there is one."""
        if number >= 0:
            return []
        fields = [{"name": name, "type": kind, "nullable": True, "metadata": {}} for name, kind in TYPES.items()]
        metadata = {
            "id": _identity(self.place),
            "name": "bars",
            "format": {"provider": "parquet", "options": {}},
            "schemaString": json.dumps({"type": "struct", "fields": fields}),
            "partitionColumns": [],
            "configuration": {},
            "createdTime": self.now_ns() // 1_000_000,
        }
        protocol = {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": [FEATURE]}
        return [{"protocol": protocol}, {"metaData": metadata}]

    def _remove(self, file: PlacedFile) -> Action:
        return {
            "remove": {
                "path": _path(file.object),
                "deletionTimestamp": self.now_ns() // 1_000_000,
                "dataChange": True,
                "extendedFileMetadata": True,
                "partitionValues": {},
                "size": file.size,
            }
        }


def _add(file: TableFile) -> Action:
    figures = file.figures
    smallest = {"symbol": figures.symbols[0], "trading_date": figures.dates[0]}
    largest = {"symbol": figures.symbols[1], "trading_date": figures.dates[1]}
    if figures.times is not None:
        # With milliseconds, of which readers know that they are rounded down.
        smallest["timestamp"], largest["timestamp"] = (_text(moment) for moment in figures.times)
    stats = {
        "numRecords": figures.rows,
        "minValues": smallest,
        "maxValues": largest,
        "nullCount": dict.fromkeys(smallest, 0),
    }
    return {
        "add": {
            "path": _path(file.key),
            "partitionValues": {},
            "size": file.size,
            "modificationTime": 0,
            "dataChange": True,
            "stats": json.dumps(stats, separators=(",", ":")),
        }
    }


def _identity(place: str) -> str:
    """Return what tells one table from another, in the form of a UUID."""
    text = sha256(place.encode()).hexdigest()
    return "-".join([text[:8], text[8:12], text[12:16], text[16:20], text[20:32]])


def _text(micros: int) -> str:
    seconds, rest = divmod(micros, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:03}Z"


def _entry(kind: str, key: str, size: int, moment: int) -> PlacedFile:
    return PlacedFile(kind + key, key, 0, size, moment)


def _key(number: int) -> str:
    return f"{ROOT}{LOG}{number:020}.json"


def _path(key: str) -> str:
    return key.removeprefix(ROOT)


def _of(actions: Iterable[Action], kind: str) -> list[Any]:
    return [action[kind] for action in actions if kind in action]
