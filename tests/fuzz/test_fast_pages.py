"""The fast reader of pages against msgspec, which decides. 100,000 pages: benchmarks/fuzz_pages.py."""

from __future__ import annotations

from collections import Counter
from importlib.util import find_spec

import pytest
from benchmarks.fuzz_pages import compared, made_up_pages

pytestmark = pytest.mark.skipif(find_spec("numba") is None, reason="the extra fast is not installed")


def test_both_make_the_same_of_every_page() -> None:
    kinds = Counter[str]()
    for body in made_up_pages(600, seed=7):
        kind, difference = compared(body)
        kinds[kind] += 1
        assert not difference, body

    assert min(kinds[kind] for kind in ("fast", "slowly", "refused")) > 50
