from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.ingestion.domain.restatement import SampleShare
from marketpipe.shared_kernel.domain.errors import ConfigurationError

SHARES = st.floats(0.001, 1.0)


@given(SHARES, st.integers(0, 2000), st.integers(700_000, 800_000))
def test_a_sample_is_its_share_of_the_sessions_each_at_most_once(share: float, count: int, turn: int) -> None:
    found = SampleShare(share).positions(count, turn)

    assert found == sorted(set(found))
    assert all(0 <= position < count for position in found)
    assert len(found) == min(count, max(1, math.ceil(count * share - 1e-9)))


def test_every_session_is_drawn_before_long() -> None:
    share, count = SampleShare(0.02), 1260
    seen: set[int] = set()
    for turn in range(739_000, 739_000 + 400):
        seen.update(share.positions(count, turn))

    assert len(seen) == count


def test_a_sample_is_spread_over_the_whole_range() -> None:
    found = SampleShare(0.05).positions(1000, 739_214)

    gaps = [later - earlier for earlier, later in pairwise(found)]
    assert max(gaps) <= 3 * 1000 / len(found)


@pytest.mark.parametrize(("text", "share"), [("2%", 0.02), ("100%", 1.0), (" 0.5 % ", 0.005)])
def test_a_share_is_written_in_percent(text: str, share: float) -> None:
    assert SampleShare.of(text).share == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "2", "%", "2 percent", "-2%", "1e1%", "٢%", "0%", "100.1%"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="sample"):
        SampleShare.of(text)
