"""Hypothesis strategies for hostile and mistaken input."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal

from attrs import frozen
from hypothesis import settings
from hypothesis import strategies as st

from tests.support.examples import ALL, FEWEST

FACTOR = int(os.environ.get("MARKETPIPE_FUZZ_FACTOR", "1"))
"""Factor for the number of examples. If it is above 1, every run uses other examples."""

NO_SYMBOLS = [
    *(
        "../../x",
        "/etc/passwd",
        "..",
        ".",
        "...",
        "A..B",
        "A\\B",
        "C:",
        "~",
        "~root",
        "-",
        "--help",
        "-c",
        "*",
        "A*",
    ),
    *(
        "",
        " ",
        "aapl",
        "AAPL ",
        " AAPL",
        "A\tB",
        "A\nB",
        "A\r",
        "A" * 21,
        "A" * 300,
        "A.",
        ".A",
        "A-",
        "[A]",
        "A'B",
    ),
    *(
        'A"B',
        "A;B",
        "A&feed=sip",
        "A?B",
        "A#B",
        "A%2FB",
        "%2e%2e%2f",
        "$(id)",
        "`id`",
        "=A",
        "symbol=AAPL",
        "{A}",
        "A|B",
    ),
    *(
        "ААРL",
        "ＡＡＰＬ",
        "AAPL\u200b",
        "\u202eAAPL",
        "A\u0301",
        "İ",
        "ß",
        "Å",
        "𝐀𝐀𝐏𝐋",
        "💥",
        "\ufeffAAPL",
        "AAPL\u00a0",
    ),
]
ODD_SYMBOLS = ["CON", "NUL", "COM1", "AUX.A", "TRUE", "NULL", "NAN", "1", "0", "1E5", "A-B.C", "ON", "A" * 20]
"""Valid symbols that look unusual: they must work like any other."""
no_symbols = st.sampled_from(NO_SYMBOLS) | st.text(max_size=30).filter(lambda text: not text.isascii())
symbols = st.sampled_from(["AAPL", *ODD_SYMBOLS])


def fuzzed(examples: int) -> settings:
    """Return the settings of a test that tries so many examples if all are wanted, else half of them."""
    count = examples if ALL or FACTOR > 1 else max(FEWEST, examples // 2)
    return settings(max_examples=count * FACTOR, derandomize=FACTOR == 1)


@frozen
class Edit:
    """A change to a file. ``at`` is where it begins: from 0 to 1 a share of the file, below 0 bytes before its end."""

    kind: Literal["cut", "flip", "insert", "repeat", "replace", "take out"]
    at: float
    count: int
    data: bytes

    def applied(self, content: bytes) -> bytes:
        at = max(0, len(content) + int(self.at)) if self.at < 0 else int(len(content) * self.at)
        before, here, after = content[:at], content[at : at + self.count], content[at + self.count :]
        match self.kind:
            case "cut":
                return before
            case "flip":
                return before + bytes(byte ^ 1 << self.count % 8 for byte in here) + after
            case "insert":
                return before + self.data + here + after
            case "repeat":
                return before + here + here + after
            case "replace":
                return before + self.data + content[at + len(self.data) :]
            case "take out":
                return before + after


DATA = st.binary(min_size=1, max_size=9) | st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\xff\xff\xff\x7f", b"\x80" * 9])
damages = st.lists(
    st.builds(
        Edit,
        st.sampled_from(["cut", "flip", "flip", "insert", "repeat", "replace", "take out"]),
        st.floats(0, 1) | st.integers(-900, -1).map(float),
        st.sampled_from([1, 2, 4, 8, 40]),
        DATA,
    ),
    min_size=1,
    max_size=3,
)


def damaged(content: bytes, edits: Sequence[Edit]) -> bytes:
    for edit in edits:
        content = edit.applied(content)
    return content


def joined(texts: Sequence[str]) -> str:
    return ",".join(texts)
