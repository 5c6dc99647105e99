from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.timestamp import Timestamp, TimeWindow

MICROS = st.integers(0, 100)


def window(start: int, end: int) -> TimeWindow:
    return TimeWindow(Timestamp.from_epoch_micros(start), Timestamp.from_epoch_micros(end))


def test_a_window_includes_its_start_and_not_its_end() -> None:
    inside = [micros for micros in range(13) if window(5, 9).contains(Timestamp.from_epoch_micros(micros))]
    assert inside == [5, 6, 7, 8]


def test_window_may_be_empty_but_not_negative() -> None:
    assert not window(5, 5).contains(Timestamp.from_epoch_micros(5))
    with pytest.raises(ValidationError, match=r"cannot end .* before it starts"):
        window(6, 5)


@pytest.mark.parametrize(("moment", "cut"), [(0, (5, 5)), (5, (5, 5)), (7, (5, 7)), (9, (5, 9)), (12, (5, 9))])
def test_until_cuts_the_window_if_the_moment_is_inside(moment: int, cut: tuple[int, int]) -> None:
    assert window(5, 9).until(Timestamp.from_epoch_micros(moment)) == window(*cut)


@given(MICROS, MICROS, MICROS, MICROS)
def test_until_contains_what_the_window_contains_before_the_moment(a: int, b: int, cut: int, probe: int) -> None:
    whole = window(min(a, b), max(a, b))
    moment = Timestamp.from_epoch_micros(probe)
    shortened = whole.until(Timestamp.from_epoch_micros(cut))
    assert shortened.contains(moment) == (whole.contains(moment) and probe < cut)
