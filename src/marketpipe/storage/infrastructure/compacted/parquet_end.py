"""The end of a Parquet file: its footer, the length of the footer, and four letters that every Parquet file has."""

from __future__ import annotations

from typing import Final

MAGIC: Final = b"PAR1"
"""What a Parquet file begins and ends with."""
LENGTH_AND_MAGIC: Final = 8
"""The bytes behind a footer."""


def footer_length(end: bytes) -> int | None:
    """Return how many bytes the footer has, given the last bytes of a file; None if it is no Parquet file."""
    return int.from_bytes(end[-LENGTH_AND_MAGIC : -len(MAGIC)], "little") if end.endswith(MAGIC) else None
