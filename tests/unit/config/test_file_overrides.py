from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from marketpipe.config import load_config
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.symbol import as_symbols
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from tests.unit.config.yaml_texts import LoadText, value_of, yaml_text

ENOUGH = {"provider": "synthetic", "symbols": ["AAPL"], "start": "2024-01-02", "end": "2024-01-03"}


def refusal(load_text: LoadText, text: str, overrides: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as refused:
        load_text(text, overrides)
    return str(refused.value)


@pytest.mark.parametrize(
    ("key", "in_file", "override", "value"),
    [
        ("workers", "2", 8, 8),
        ("provider", "alpaca", "synthetic", "synthetic"),
        ("symbols", "[AAPL]", ["MSFT", "BRK.B"], as_symbols(["BRK.B", "MSFT"])),
        ("start", "2024-01-05", "2023-01-03", TradingDate.parse("2023-01-03")),
        ("output_path", "here", "there", Path("there")),
        ("alpaca.feed", "iex", "sip", "sip"),
        ("metrics.enabled", "true", False, False),
        ("synthetic.seed", "7", 0, 0),
    ],
)
def test_override_wins_over_the_file(
    key: str, in_file: str, override: object, value: object, load_text: LoadText
) -> None:
    assert value_of(load_text(yaml_text({key: in_file}), {key: override}), key) == value


def test_override_in_a_section_leaves_its_other_keys(load_text: LoadText) -> None:
    config = load_text(yaml_text(alpaca="{adjustment: split, rate_limit_per_min: 50}"), {"alpaca.feed": "sip"})
    assert (config.alpaca.feed, config.alpaca.adjustment, config.alpaca.rate_limit_per_min) == ("sip", "split", 50)


@pytest.mark.parametrize("section", [None, "", "{}"])
def test_override_in_a_section_that_the_file_lacks(section: str | None, load_text: LoadText) -> None:
    assert load_text(yaml_text(alpaca=section), {"alpaca.feed": "sip"}).alpaca.feed == "sip"


def test_an_override_replaces_a_wrong_value_of_the_file(load_text: LoadText) -> None:
    assert load_text(yaml_text(workers="many"), {"workers": 2}).workers == 2
    assert load_text(yaml_text({"alpaca.feed": "polygon"}), {"alpaca.feed": "sip"}).alpaca.feed == "sip"


def test_overrides_may_give_what_the_file_lacks(load_text: LoadText) -> None:
    assert load_text("workers: 2\n", ENOUGH).workers == 2


def test_overrides_alone_are_enough() -> None:
    assert load_config(None, ENOUGH).end == TradingDate.parse("2024-01-03")


def test_nothing_at_all_is_refused_as_an_error_of_the_command_line() -> None:
    with pytest.raises(ConfigurationError, match=r"^the command line: missing provider, symbols, start, end$"):
        load_config(None)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"workers": 99}, "workers: expected a whole number from 1 to 64, not 99"),
        ({"workers": None}, "workers: expected a whole number from 1 to 64, not None"),
        ({"symbols": ["aapl"]}, "symbols: 'aapl' is not a symbol"),
        ({"symbols": [""]}, "symbols: '' is not a symbol"),
        ({"start": "yesterday"}, "start: 'yesterday' is not a date written YYYY-MM-DD"),
        ({"end": "2023-12-29"}, "end: 2023-12-29 is before start 2024-01-02"),
        ({"alpaca.feed": "sipp"}, "alpaca.feed: 'sipp' is not allowed; did you mean 'sip'?"),
        ({"alpaca": {"feed": "sipp"}}, "alpaca.feed: 'sipp' is not allowed; did you mean 'sip'?"),
        ({"alpaca": 5}, "alpaca: expected keys and values"),
        ({"worker": 2}, "unknown key 'worker'; did you mean 'workers'?"),
        ({"alpaca.feeds": "sip"}, "unknown key 'alpaca.feeds'; did you mean 'feed'?"),
    ],
)
def test_refused_override_names_the_command_line(overrides: dict[str, Any], message: str, load_text: LoadText) -> None:
    assert refusal(load_text, yaml_text(), overrides).startswith(f"the command line: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (yaml_text(workers="99"), "workers: expected a whole number from 1 to 64, not 99"),
        (yaml_text({"alpaca.adjustment": "splits"}), "alpaca.adjustment: 'splits' is not allowed"),
        (yaml_text(worker="2"), "unknown key 'worker'"),
        (yaml_text(provider=None), "missing provider"),
    ],
)
def test_what_the_file_says_wrong_names_the_file_though_there_are_overrides(
    text: str, message: str, load_text: LoadText, config_file: Path
) -> None:
    overrides = {"alpaca.feed": "sip", "start": "2024-01-03"}
    assert refusal(load_text, text, overrides).startswith(f"{config_file}: {message}")


@pytest.mark.parametrize("section", ["5", "[feed, iex]", "feed", "true"])
def test_an_override_inside_a_plain_value_is_refused(section: str, load_text: LoadText, config_file: Path) -> None:
    message = refusal(load_text, yaml_text(alpaca=section), {"alpaca.feed": "sip"})
    assert message == f"{config_file}: alpaca: expected keys and values"


def test_overrides_are_left_as_they_were(load_text: LoadText) -> None:
    overrides: dict[str, Any] = {"alpaca": {"feed": "sip"}, "alpaca.adjustment": "split"}
    config = load_text(yaml_text(), overrides)
    assert (config.alpaca.feed, config.alpaca.adjustment) == ("sip", "split")
    assert overrides == {"alpaca": {"feed": "sip"}, "alpaca.adjustment": "split"}


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_another_executor_needs_no_scheduler_of_the_file(executor: str, load_text: LoadText) -> None:
    text = yaml_text({"executor": "dask", "scheduler": "tls://h:8786", "insecure_scheduler": "true"})

    made = load_text(text, {"executor": executor})

    assert (made.executor, made.scheduler, made.insecure_scheduler) == (executor, None, False)
    assert load_text(text, {"workers": 3}).scheduler == "tls://h:8786"


def test_a_scheduler_beside_another_executor_on_the_command_line_is_refused(load_text: LoadText) -> None:
    refused = refusal(load_text, yaml_text({"executor": "dask"}), {"executor": "threads", "scheduler": "tls://h:8786"})

    assert refused.startswith("the command line: scheduler: is for executor: dask")
