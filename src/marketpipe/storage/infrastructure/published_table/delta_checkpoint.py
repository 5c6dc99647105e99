"""Checkpoints of a Delta table: all that it consists of at a version, so that readers need no commit before it.

Readers find the newest one by listing the log. The hint ``_last_checkpoint``, which would have to be replaced, is none
that they need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa

VERSIONS: Final = 10
"""So many versions are between two checkpoints, as other writers of Delta have it."""
Action = Mapping[str, Any]


def checkpoint(actions: Sequence[Action]) -> bytes:
    """Return a checkpoint of these actions: the protocol, the metadata, and an ``add`` for each object."""
    import pyarrow as pa  # here, as few commands need it
    import pyarrow.parquet as pq

    types = _types()
    columns = {kind: pa.array([action.get(kind) for action in actions], of) for kind, of in types.items()}
    target = BytesIO()
    pq.write_table(pa.table(columns), target, store_schema=False)
    return target.getvalue()


def _types() -> Mapping[str, pa.DataType]:
    import pyarrow as pa

    text, whole, texts = pa.string(), pa.int64(), pa.map_(pa.string(), pa.string())
    protocol = {
        "minReaderVersion": pa.int32(),
        "minWriterVersion": pa.int32(),
        "writerFeatures": pa.list_(text),
    }
    metadata = {
        "id": text,
        "name": text,
        "format": pa.struct({"provider": text, "options": texts}),
        "schemaString": text,
        "partitionColumns": pa.list_(text),
        "configuration": texts,
        "createdTime": whole,
    }
    add = {
        "path": text,
        "partitionValues": texts,
        "size": whole,
        "modificationTime": whole,
        "dataChange": pa.bool_(),
        "stats": text,
    }
    remove = {"path": text, "deletionTimestamp": whole, "dataChange": pa.bool_()}
    fields = {"protocol": protocol, "metaData": metadata, "add": add, "remove": remove}
    return {kind: pa.struct(of) for kind, of in fields.items()}
