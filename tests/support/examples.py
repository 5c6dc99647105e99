"""How much a test tries: some examples and cases in ``make test``, all in ``make test-thoroughly``.

``make test-thoroughly`` runs the modules that thin what they try: those that import this one, or that Hypothesis draws
examples for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

import pytest
from hypothesis import settings

ALL: Final = "MARKETPIPE_ALL_EXAMPLES" in os.environ
SOME: Final = 20
"""One of so many examples is tried in ``make test``, but at least ``FEWEST``."""
FEWEST: Final = 3

CASES: Final = 5
"""One of so many cases of one kind is tried in ``make test``."""
Case = TypeVar("Case")

thoroughly: Final = pytest.mark.skipif(not ALL, reason="it takes long: 'make test-thoroughly' runs it")
"""Marks a test that takes long, and of which ``make test`` has a shorter one."""


def examples(count: int) -> settings:
    """Return the settings of a test that tries ``count`` examples if all are wanted."""
    return settings(max_examples=count if ALL else max(FEWEST, count // SOME))


def some(cases: Iterable[Case]) -> Sequence[Case]:
    """Return the cases of a test that tries each if all are wanted.

    They take long, and fail for much the same reasons. Of fewer than ``CASES`` the first is tried.
    """
    return [*cases][:: 1 if ALL else CASES]
