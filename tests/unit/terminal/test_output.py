from __future__ import annotations

import pytest

from marketpipe.shared_kernel.domain.errors import count_of
from marketpipe.terminal.output import err, out, print_json
from marketpipe.terminal.tables import print_table
from marketpipe.terminal.verbosity import folded


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
    assert [count_of(number, "retry", "retries") for number in (1, 2)] == ["1 retry", "2 retries"]


def test_prose_is_folded_between_words_for_a_terminal() -> None:
    line = "12 symbols, 61 sessions, 2024-01-02 to 2024-03-28: NOT complete"
    assert folded(line, 40).split("\n") == ["12 symbols, 61 sessions, 2024-01-02 to", "  2024-03-28: NOT complete"]
    assert folded(line, None) == folded(line, 80) == line


def test_a_command_is_never_folded() -> None:
    command = "'marketpipe ingest --symbols AAPL --start 2024-01-02 --end 2024-01-31'"
    assert folded(f"one day is missing: {command} requests it", 40).split("\n") == [
        *("one day is missing:", f"  {command}", "  requests it")
    ]


def test_a_path_is_never_folded() -> None:
    path = "aggregates/timeframe=5m/symbol=SYMA/year=2024/month=01.parquet"
    assert folded(f"{path}: lost", 20).split("\n") == [f"{path}:", "  lost"]
