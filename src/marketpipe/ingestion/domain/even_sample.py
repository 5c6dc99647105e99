from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def even_sample(items: Sequence[T], most: int) -> Sequence[T]:
    """All of them, or ``most`` that lie evenly among them: always the same ones."""
    return items if len(items) <= most else [items[number * len(items) // most] for number in range(most)]
