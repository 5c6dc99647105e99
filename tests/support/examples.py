"""How much a test tries: some examples and cases in ``make test``, all in ``make test-thoroughly``.

``make test-thoroughly`` collects the modules that thin what they try: those that import this one, or that Hypothesis
draws examples for. Of these it runs what ``make test`` does not try alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
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
ON_THE_DISK: Final = tuple(os.environ.get("MARKETPIPE_ON_THE_DISK", "").split())
"""The tests, by the beginnings of their paths, that are run again because their files are not in memory."""

thoroughly: Final = pytest.mark.skipif(not ALL, reason="it takes long: 'make test-thoroughly' runs it")
"""Marks a test that takes long, and of which ``make test`` has a shorter one."""
tries_more: Final = pytest.mark.tries_more
"""Marks a test that tries more if all is wanted, by ``ALL``, by a stride, or by what is made with them."""


class Some(list[Case]):
    """The cases of a test, of which ``make test`` tries some."""


def examples(count: int) -> settings:
    """Return the settings of a test that tries ``count`` examples if all are wanted."""
    return settings(max_examples=count if ALL else max(FEWEST, count // SOME))


def some(cases: Iterable[Case]) -> Some[Case]:
    """Return the cases of a test that tries each if all are wanted.

    They take long, and fail for much the same reasons. Of fewer than ``CASES`` the first is tried.
    """
    return Some([*cases][:: 1 if ALL else CASES])


def some_params(cases: Iterable[Case]) -> list[object]:
    """Return the ``params`` of a fixture that tries each if all are wanted."""
    marked = [pytest.param(case, marks=tries_more) if number % CASES else case for number, case in enumerate(cases)]
    return marked[:: 1 if ALL else CASES]


def is_new(item: pytest.Item) -> bool:
    """Return whether ``make test`` does not try this alike."""
    return (
        item.nodeid.startswith(ON_THE_DISK)
        or getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
        or item.get_closest_marker("tries_more") is not None
        or thoroughly.mark in item.iter_markers("skipif")
        or any(_left_out(item, mark) for mark in item.iter_markers("parametrize"))
    )


def _left_out(item: pytest.Item, mark: pytest.Mark) -> bool:
    names, cases = mark.args[:2] if len(mark.args) > 1 else ("", ())
    if not isinstance(cases, Some) or not cases:
        return False
    assert isinstance(item, pytest.Function)
    values = item.callspec.params
    case = tuple(values[name.strip()] for name in (names.split(",") if isinstance(names, str) else names))
    return (case if len(case) > 1 else case[0]) not in cases[::CASES]
