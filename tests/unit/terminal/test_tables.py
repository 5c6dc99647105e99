from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from rich.console import Console

from marketpipe.terminal.tables import column_of, print_table

MORNING = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
BAR_NAMES = ("symbol", "timestamp", "open", "high", "low", "close", "volume", "trade_count", "vwap")
BAR = ("AAPL", MORNING, 187.15, 188.4, 183.885, 185.64, 82_488_674.0, 1_009_074, 185.847103)


def printed(
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    width: int,
    *,
    terminal: bool = True,
    spare: Sequence[str] = (),
) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, no_color=True, record=True)
    print_table(head, rows, spare=spare, console=console)
    assert isinstance(console.file, io.StringIO)
    return console.export_text() if terminal else console.file.getvalue()


def lines(*arguments: object, **options: object) -> list[str]:
    return [line.rstrip() for line in printed(*arguments, **options).splitlines()]  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [40, 80, 100, 140])
def test_no_value_is_cut_at_any_width(width: int) -> None:
    text = printed(BAR_NAMES, [BAR, BAR], width)
    for value in ("2024-01-02 14:30:00Z", "187.15", "183.885", "82,488,674", "1,009,074", "185.847103"):
        assert text.count(value) == 2
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


def test_a_row_that_is_too_wide_is_a_record() -> None:
    assert lines(BAR_NAMES[:3], [BAR[:3], BAR[:3]], 24) == [
        *("symbol:    AAPL", "timestamp: 2024-01-02 14:30:00Z", "open:      187.15", ""),
        *("symbol:    AAPL", "timestamp: 2024-01-02 14:30:00Z", "open:      187.15"),
    ]


def test_numbers_are_on_the_right_under_their_name() -> None:
    assert lines(["symbol", "bars"], [["AAPL", 1_234_567], ["A", 0]], 80) == [
        "symbol       bars",
        "AAPL    1,234,567",
        "A               0",
    ]


def test_zero_is_written_and_nothing_stays_empty() -> None:
    assert lines(["a", "b"], [[0, None], [None, 0.0]], 80)[1:] == ["0", "   0"]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("close", [187.5, 188.0], ["187.50", "188.00"]),
        ("close", [0.1234, 12.5], ["0.1234", "12.5000"]),
        ("close", [190.0], ["190.00"]),
        ("volume", [82_488_674.0, None], ["82,488,674", ""]),
        ("sum", [Decimal("123456789012345678901234567890")], ["123,456,789,012,345,678,901,234,567,890"]),
        ("n", [2**63 - 1, 0.5], ["9,223,372,036,854,775,807.00", "0.50"]),
        ("average", [187.32142857142858, 0.1 + 0.2], ["187.321429", "0.300000"]),
        ("tiny", [0.00001234567], ["0.0000123457"]),
        ("extreme", [1e300, 1e-300], ["1e+300", "1e-300"]),
        ("year", [2024], ["2024"]),
        ("x", [float("nan"), 1.0], ["nan", "1"]),
    ],
)
def test_a_column_has_the_decimals_that_its_numbers_have(name: str, values: list[object], expected: list[str]) -> None:
    assert column_of(name, values).texts == expected


def test_moments_have_no_fraction_that_is_zero() -> None:
    later = MORNING.replace(microsecond=500_000)
    assert column_of("timestamp", [MORNING, later, date(2024, 1, 2)]).texts == [
        *("2024-01-02 14:30:00Z", "2024-01-02 14:30:00.500000Z", "2024-01-02")
    ]


def test_text_is_folded_between_words_and_never_within_one() -> None:
    assert lines(["rule", "reason"], [["ohlc_order", "the high is below the close"]], 30) == [
        "rule       reason",
        "ohlc_order the high is below",
        "           the close",
    ]


def test_a_path_is_broken_rather_than_every_row_a_record() -> None:
    path = "/home/user/abc/markets/store/state/marketpipe.sqlite"
    printed = lines(["key", "value", "from"], [["state_path", path, "default"]], 60)
    assert printed[0].split() == ["key", "value", "from"]
    assert "".join(line[11:52].strip() for line in printed[1:]) == path


def test_a_moment_of_a_query_is_not_folded() -> None:
    assert lines(["symbol", "timestamp"], [["AAPL", MORNING]], 26)[1] == "timestamp: 2024-01-02 14:30:00Z"


def test_spare_columns_of_zeros_are_left_out_if_the_terminal_is_narrow() -> None:
    head, row = ["symbol", "complete", "failed"], ["AAPL", 250, 0]
    assert lines(head, [row], 18, spare=["failed"])[0] == "symbol  complete"
    assert lines(head, [row], 80, spare=["failed"])[0] == "symbol  complete  failed"
    assert "failed:   1" in lines(head, [["AAPL", 250, 1]], 18, spare=["failed"])


def test_a_path_is_broken_after_a_slash_if_it_has_one() -> None:
    path = "/home/user/abc/markets/store/state/marketpipe.sqlite"
    printed = lines(["key", "value", "from"], [["state_path", path, "default"]], 60)
    assert [line[11:52].strip() for line in printed[1:]] == ["/home/user/abc/markets/store/state/", "marketpipe.sqlite"]
    assert printed[1].endswith("default")


def test_empty_columns_are_left_out_if_the_terminal_is_narrow() -> None:
    row = [*BAR[:7], None, None]
    assert "trade_count" in lines(BAR_NAMES, [row], 120)[0]
    assert lines(BAR_NAMES, [row], 80)[0].split() == list(BAR_NAMES[:7])
    assert not any("vwap" in line for line in lines(BAR_NAMES, [row], 30))
    assert lines(["an_empty_column"], [[None]], 10) == ["an_empty_column:"]


def test_a_pipe_gets_one_plain_table_with_every_digit() -> None:
    text = printed(BAR_NAMES, [(*BAR[:-1], 185.12345678901)], 20, terminal=False)
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2
    assert "185.12345678901" in text


def test_the_head_is_styled_on_a_terminal() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, record=True, color_system="standard")
    print_table(["symbol"], [["AAPL"]], console=console)
    assert "\x1b[1;4msymbol" in console.export_text(styles=True)


def test_a_table_without_rows_has_its_head() -> None:
    assert lines(["symbol", "bars"], [], 80) == ["symbol  bars"]
