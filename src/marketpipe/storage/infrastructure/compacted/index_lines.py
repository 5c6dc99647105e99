"""The lines of a version index, with a check of those that were appended together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final
from zlib import crc32

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.store_inventory import RecordedVersion
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate

INDEX_TITLE: Final = b"trading_date,known_since,sha256\n"
INDEX_LINE: Final = re.compile(
    r"^(\d{4}-\d\d-\d\d),(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z),([0-9a-f]{64})$", re.M | re.A
)

CHECK_LINE: Final = re.compile(r"^,(\d{1,5}),([0-9a-f]{8})$", re.M | re.A)
"""Behind lines that were appended together: how many they are, and their CRC-32."""
TORN_LINE: Final = re.compile(r"\0*[\d:.,TZa-f-]{0,102}\0*", re.A)
"""What a crash or a full disk can leave of a line, and zeros in the place of what was never written."""


def belongs_in_an_index(line: str) -> bool:
    if TORN_LINE.fullmatch(line) or INDEX_TITLE.decode().startswith(line):
        return True
    if not (match := INDEX_LINE.fullmatch(line)):
        return False
    try:
        TradingDate.parse(match[1]), Timestamp.parse(match[2])
    except ValidationError:  # not of the calendar
        return False
    return True


def unaltered(text: str) -> str:
    """Return an index without lines that were appended together and are not what was appended.

    The lines are not synced. A power loss may leave a moment that can be read and is another one; without a line the
    time of the file counts.
    """
    kept, end = list[str](), 0
    for match in CHECK_LINE.finditer(text):
        begin = match.start()
        for _ in range(int(match[1])):
            begin = text.rfind("\n", 0, max(0, begin - 1)) + 1
        if _check(text[begin : match.start()]) != match[2]:
            kept.append(text[end : max(end, begin)])
            end = match.start()
    return "".join([*kept, text[end:]])


def _check(lines: str) -> str:
    return f"{crc32(lines.encode()):08x}"


def index_lines(versions: Iterable[tuple[TradingDate, Timestamp, str]]) -> bytes:
    """Return the lines of an index; each version is a trading date, a moment and a SHA-256.

    The last line is a check of the others. Earlier versions of MarketPipe take it for a torn one.
    """
    lines = [f"{date},{_text(moment)},{digest}\n" for date, moment, digest in versions]
    text = "".join(lines)
    return f"{text},{len(lines)},{_check(text)}\n".encode() if lines else b""


def first_index_lines(recorded: Mapping[TradingDate, RecordedVersion]) -> bytes:
    """Return what a new index begins with: in a store of an earlier version of MarketPipe the state has moments."""
    known = ((date, version.known_since, version.sha256) for date, version in recorded.items())
    return INDEX_TITLE + index_lines((date, since, digest) for date, since, digest in known if since is not None)


def _text(moment: Timestamp) -> str:
    return moment.moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
