from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from marketpipe.ingestion.domain.ingestion_plan import even_sample


@given(st.integers(0, 500), st.integers(1, 200))
def test_a_sample_is_everything_or_is_spread_evenly(size: int, most: int) -> None:
    found = even_sample(range(size), most)

    assert len(found) == min(size, most)
    if size <= most:
        assert list(found) == list(range(size))
    else:
        assert found[0] == 0
        assert {later - earlier for earlier, later in pairwise([*found, size])} <= {size // most, size // most + 1}
