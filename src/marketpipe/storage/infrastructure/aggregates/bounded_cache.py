"""Makes room among what is kept of files, for caches that several threads share without a lock."""

from __future__ import annotations

from random import sample
from typing import Any, Final

SHARE_DROPPED: Final = 8
"""One of so many entries leaves at a time, so that to choose them costs little of what an entry costs."""


def make_room(kept: dict[Any, Any], most: int) -> None:
    """Drop some entries, chosen at random, if there are already as many as allowed.

    The oldest are those that a range which does not fit asks for next, so to drop them would be to keep nothing.
    """
    while len(kept) >= most:
        try:
            names = list(kept)
        except RuntimeError:  # another thread has added one
            continue
        for name in sample(names, -(-len(names) // SHARE_DROPPED)):
            kept.pop(name, None)
