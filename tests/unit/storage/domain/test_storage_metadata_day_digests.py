from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from marketpipe.storage.domain.storage_metadata import day_digests, differing_days

MONTHS = st.dictionaries(st.integers(1, 31), st.text("0123456789abcdef", min_size=64, max_size=64))
A, B = "a" * 64, "b" * 64


def test_the_days_are_written_in_order_each_with_the_start_of_its_digest() -> None:
    assert day_digests({11: B, 2: A}) == "02=aaaaaaaaaaaaaaaa 11=bbbbbbbbbbbbbbbb"
    assert day_digests({}) == ""


def test_days_differ_whose_digests_differ_or_that_one_side_lacks() -> None:
    made_from, now = day_digests({2: A, 3: A, 4: A}), day_digests({3: A, 4: B, 5: A})

    assert differing_days(made_from, now) == {2, 4, 5}
    assert differing_days(now, made_from) == {2, 4, 5}


def test_one_digest_over_a_whole_month_knows_no_day() -> None:
    assert differing_days("02" * 32, day_digests({2: A, 3: B})) == {2, 3}
    assert differing_days("02" * 32, "") == set()


@given(MONTHS, MONTHS)
def test_equal_texts_are_those_of_the_same_files(one: dict[int, str], other: dict[int, str]) -> None:
    differing = {day for day in one.keys() | other.keys() if one.get(day) != other.get(day)}

    assert differing_days(day_digests(one), day_digests(other)) == differing
    assert (day_digests(one) == day_digests(other)) == (not differing)
