"""Strategies for what nobody should give, and somebody will."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st

FACTOR = int(os.environ.get("MARKETPIPE_FUZZ_FACTOR", "1"))
"""How many times as many examples as usual; more than once, and they are other ones on every run."""

NO_SYMBOLS = [
    *(
        "../../x",
        "A/B",
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
        "A B",
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
"""Symbols all the same: what is odd about them must not matter."""
no_symbols = st.sampled_from(NO_SYMBOLS) | st.text(max_size=30).filter(lambda text: not text.isascii())
symbols = st.sampled_from(["AAPL", *ODD_SYMBOLS])


def fuzzed(examples: int) -> settings:
    return settings(max_examples=examples * FACTOR, derandomize=FACTOR == 1)


@st.composite
def damaged(draw: st.DrawFn, content: bytes, tail: int = 0) -> bytes:
    """``content`` with a few bits flipped, bytes put in, taken out or repeated, or its end cut off.

    Half the time it is one of the last ``tail`` bytes where it begins, if there are any.
    """
    least = len(content) - tail if tail and draw(st.booleans()) else 0
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(min(least, len(found)), len(found)))
        _DAMAGES[draw(st.sampled_from(sorted(_DAMAGES)))](draw, found, at)
    return bytes(found)


def _flip(draw: st.DrawFn, content: bytearray, at: int) -> None:
    for position in range(at, min(at + draw(st.integers(1, 4)), len(content))):
        content[position] ^= 1 << draw(st.integers(0, 7))


def _insert(draw: st.DrawFn, content: bytearray, at: int) -> None:
    content[at:at] = draw(st.binary(min_size=1, max_size=9))


def _replace(draw: st.DrawFn, content: bytearray, at: int) -> None:
    new = draw(st.binary(min_size=1, max_size=9) | st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\xff\xff\xff\x7f"]))
    content[at : at + len(new)] = new


def _take_out(draw: st.DrawFn, content: bytearray, at: int) -> None:
    del content[at : at + draw(st.integers(1, 40))]


def _repeat(draw: st.DrawFn, content: bytearray, at: int) -> None:
    content[at:at] = content[at : at + draw(st.integers(1, 40))]


def _cut(draw: st.DrawFn, content: bytearray, at: int) -> None:
    del content[at:]


_DAMAGES = {
    "cut": _cut,
    "flip": _flip,
    "insert": _insert,
    "repeat": _repeat,
    "replace": _replace,
    "take out": _take_out,
}


def joined(texts: Sequence[str]) -> str:
    return ",".join(texts)
