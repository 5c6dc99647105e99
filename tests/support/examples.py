"""How many examples and cases a test tries: some in ``make test``, all in ``make test-thoroughly``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from hypothesis import settings

ALL: Final = "MARKETPIPE_ALL_EXAMPLES" in os.environ
SOME: Final = 10
"""One of so many examples is tried in ``make test``, but at least ``FEWEST``."""
FEWEST: Final = 3

CASES: Final = 3
"""One of so many cases of one kind is tried in ``make test``."""
Case = TypeVar("Case")


def examples(count: int) -> settings:
    """Return the settings of a test that tries ``count`` examples if all are wanted."""
    return settings(max_examples=count if ALL else max(FEWEST, count // SOME))


def some(cases: Iterable[Case]) -> Sequence[Case]:
    """Return the cases of a test that tries each if all are wanted. They take long, and fail for much the same reasons.

    A test with ``some`` cases has to be among those of ``make test-thoroughly``.
    """
    return [*cases][:: 1 if ALL else CASES]
