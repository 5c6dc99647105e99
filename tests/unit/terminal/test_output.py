from __future__ import annotations

import pytest

from marketpipe.terminal.output import count_of, err, out, print_json
from marketpipe.terminal.tables import print_table


def test_whatever_is_printed_obeys_no_foreign_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    foreign = "no \x1b[2J\u202e\x9b"
    out(foreign)
    err(foreign)
    print_table(["reason"], [[foreign]])
    print_json({"reason": foreign})
    printed = "".join(capsys.readouterr())
    assert printed.count(r"no \x1b[2J\u202e\x9b") == 3
    assert r"no \u001b[2J\u202e\u009b" in printed
    assert not set(printed) & {"\x1b", "\u202e", "\x9b"}


def test_a_line_of_ours_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    out("two\nlines\tof – text")
    assert capsys.readouterr().out == "two\nlines\tof – text\n"


def test_one_is_singular_and_every_other_number_is_plural() -> None:
    assert [count_of(number, "symbol-day") for number in (0, 1, 2_000)] == [
        *("0 symbol-days", "1 symbol-day", "2,000 symbol-days")
    ]
