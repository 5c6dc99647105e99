from __future__ import annotations

import pytest

from marketpipe.storage.infrastructure.compacted.month_file import (
    MonthFileDamaged,
    days_in,
    is_intact,
    month_file,
    parts_at_the_end,
)
from tests.support.builders import day
from tests.support.day_contents import day_file_of

DAYS = [day_file_of(day("AAPL", f"2024-01-{number:02d}"), bars=number) for number in (2, 3, 31)]
STATED = {"marketpipe.symbol": "AAPL"}
MONTH = month_file(DAYS, STATED)


def test_the_day_files_are_cut_out_again_with_their_times() -> None:
    assert days_in(MONTH) == DAYS


def test_a_month_of_all_days_is_described_in_its_last_bytes() -> None:
    days = [day_file_of(day("AAPL", f"2024-01-{number:02d}")) for number in range(1, 32)]

    assert days_in(month_file(days, STATED)) == days


def test_a_month_file_is_intact_if_its_days_make_it() -> None:
    assert is_intact(MONTH, STATED)
    assert not is_intact(MONTH, {**STATED, "more": ""})

    footer = len(MONTH) - sum(len(each.content) for each in DAYS)
    in_the_footer, in_a_day = (bytearray(MONTH) for _ in range(2))
    in_the_footer[-footer + 100] ^= 1
    in_a_day[20] ^= 1
    assert not is_intact(bytes(in_the_footer), STATED)
    assert is_intact(bytes(in_a_day), STATED)  # the record of the day tells that


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(MONTH[:-1], id="cut at the end"),
        pytest.param(MONTH[1:], id="cut at the start"),
        pytest.param(DAYS[0].content, id="a day file"),
        pytest.param(MONTH.replace(b"03:", b"02:"), id="a day twice"),
        pytest.param(MONTH.replace(f":{len(DAYS[1].content)}:".encode(), b":1:"), id="another size"),
    ],
)
def test_what_does_not_name_its_days_is_damaged(content: bytes) -> None:
    with pytest.raises(MonthFileDamaged):
        parts_at_the_end(content[-4096:], len(content))


def test_another_time_makes_another_month_file() -> None:
    later = [*DAYS[:-1], DAYS[-1]._replace(modified_ns=DAYS[-1].modified_ns + 1)]

    assert days_in(month_file(later, STATED)) == later
