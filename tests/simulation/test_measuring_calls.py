"""What commands usually call is measured in worlds, so that drawn faults happen."""

from __future__ import annotations

from collections import Counter

from tests.simulation.measuring_calls import Measured, usual
from tests.simulation.usual_calls import MEASURED, usual_calls


def test_eleven_of_twelve_commands_make_the_sure_calls_and_nearly_half_the_deep_ones() -> None:
    found = [Counter({"open": number, "read": number // 10}) for number in range(1, 14)]
    assert usual(found) == {"open": (2, 7)}


def test_the_first_command_of_an_evening_and_the_next_one_are_measured_apart() -> None:
    measured = Measured()
    measured.add(1, 8)
    assert {*measured.calls} <= {*MEASURED}
    assert {"first of one symbol", "first of several symbols"} & {*measured.calls}
    assert all(line.strip() for line in measured.lines())
    assert measured.reached()[0] + len([*measured.missed()]) <= measured.reached()[1]


def test_what_is_written_is_sure_of_the_first_command_of_an_evening() -> None:
    for symbols in (1, 2):
        calls = usual_calls("update", is_first=True, symbols=symbols)
        assert all(calls[name].sure > 1 for name in ("begin_to_store", "fsync", "write", "replace"))
