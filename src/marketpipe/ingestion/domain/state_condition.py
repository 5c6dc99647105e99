from __future__ import annotations

from enum import Enum


class StateCondition(Enum):
    """What may be done with a state file."""

    ABSENT = "is not there"
    UNCLAIMED = "has no records of this store"
    USABLE = "can be read"
    DAMAGED = "is damaged"
    NEWER = "was written by a newer MarketPipe"
    FOREIGN = "is a database of another program"

    def __str__(self) -> str:
        return self.value
