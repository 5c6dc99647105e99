"""Runs of minutes without a bar, in a bit mask of one regular session: bit ``i`` is the minute ``i`` after the open."""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen


@frozen
class Silence:
    """``length`` minutes without a bar from minute ``start`` on; ``at_close``: they last until the session's end."""

    start: int
    length: int
    at_close: bool

    @property
    def end(self) -> int:
        return self.start + self.length

    def bars_in(self, minutes: int) -> int:
        """How many of those minutes have a bar in another session."""
        return (minutes >> self.start & (1 << self.length) - 1).bit_count()


def longest_silence(minutes: int, length: int) -> int:
    """Of a session of ``length`` minutes."""
    silent = ~minutes & (1 << length) - 1
    return max(map(len, f"{silent:b}".split("0")))


def silence_at_close(minutes: int, length: int) -> int:
    return length - minutes.bit_length()


def silences(minutes: int, length: int, at_least: int) -> Iterator[Silence]:
    """Those of at least so many minutes, ascending."""
    silent = ~minutes & (1 << length) - 1
    for run in re.finditer(f"1{{{at_least},}}", f"{silent:b}"[::-1]):
        yield Silence(run.start(), run.end() - run.start(), run.end() == length)
