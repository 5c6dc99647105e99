"""What a table can be written to for other programs: the formats, and what was written."""

from __future__ import annotations

import math
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Final, Self

from attrs import frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError, did_you_mean


class FileFormat(Enum):
    """How a table is written: Parquet, CSV with a header, an Arrow IPC file, or one JSON array of objects."""

    PARQUET = "parquet"
    CSV = "csv"
    ARROW = "arrow"
    JSON = "json"

    def __str__(self) -> str:
        return self.value

    @classmethod
    def of(cls, file_name: str, given: str | Self | None) -> Self:
        """Return the ``given`` format, or the one that the ending of the name means.

        Raises ``ConfigurationError`` for a format that does not exist, and for an ending that means none.
        """
        if isinstance(given, cls):
            return given
        if given is not None:
            known = {each.value: each for each in cls}
            if given not in known:
                raise ConfigurationError(f"format: {given!r} is not allowed; {did_you_mean(str(given), known)}")
            return known[given]
        if (found := ENDINGS.get(file_name.lower().rpartition(".")[2])) is None:
            raise ConfigurationError(
                f"{file_name}: the ending names no format; give one (parquet, csv, arrow, json), or end the name with "
                f".{', .'.join(ENDINGS)}"
            )
        return cls(found)


ENDINGS: Final = {
    "parquet": "parquet",
    "csv": "csv",
    "arrow": "arrow",
    "feather": "arrow",
    "ipc": "arrow",
    "json": "json",
}


@frozen
class ExportReport:
    """A file that was written: its path, format, rows, columns and size in bytes."""

    path: str
    format: FileFormat
    rows: int
    columns: tuple[str, ...]
    size_bytes: int


def json_value(value: object) -> object:
    """Return the value as JSON has it: NaN and infinities are null, bytes hexadecimal, moments RFC 3339."""
    match value:
        case dict():
            return {str(key): json_value(inner) for key, inner in value.items()}
        case list() | tuple():
            return [json_value(inner) for inner in value]
        case float() | Decimal():
            return float(value) if math.isfinite(value) else None
        case bool() | int() | str() | None:
            return value
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case bytes():
            return value.hex()
    return str(value)
