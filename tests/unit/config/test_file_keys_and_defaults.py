from __future__ import annotations

from datetime import time
from pathlib import Path
from typing import Any

import attrs
import pytest

from marketpipe.config import HaltConfig, PipelineConfig, StoreConfig, load_config, load_store_config
from marketpipe.config.classes import SECTIONS, known_keys
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.domain.symbol import as_symbols
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import CalendarException, SessionKind, TradingDate
from tests.unit.config.yaml_texts import LoadText, value_of, yaml_text

DEFAULTS: dict[str, Any] = {
    "root": Path(),
    "session": SessionKind.EXTENDED,
    "output_path": Path("data"),
    "aggregates_path": Path("aggregates"),
    "quarantine_path": Path("quarantine"),
    "revisions_path": Path("revisions"),
    "official_path": Path("official"),
    "copies_path": Path("copies"),
    "state_path": Path("state/marketpipe.sqlite"),
    "compression": "zstd",
    "timeframes": (Timeframe.MINUTE_5, Timeframe.MINUTE_15, Timeframe.HOUR_1, Timeframe.DAY_1),
    "read_copies": "none",
    "symbol_lists": {},
    "workers": 4,
    "executor": "threads",
    "scheduler": None,
    "insecure_scheduler": False,
    "alpaca.feed": "sip",
    "alpaca.asof": "-",
    "alpaca.adjustment": "raw",
    "alpaca.base_url": "https://data.alpaca.markets",
    "alpaca.rate_limit_per_min": 200,
    "synthetic.seed": 7,
    "validation.severities": {},
    "coverage.hole_minutes": 30,
    "coverage.hole_bars": 15.0,
    "coverage.stop_minutes": 10,
    "coverage.stop_bars": 9.0,
    "coverage.habit_factor": 3.0,
    "coverage.neighbours": 10,
    "coverage.unlisted_sessions": 5,
    "coverage.confirmations": 2,
    "calendar.exceptions": (),
    "calendar.halts": (),
    "metrics.enabled": False,
    "metrics.host": "127.0.0.1",
    "metrics.port": 8000,
    "metrics.store": None,
    "metrics.textfile": None,
    "metrics.pushgateway": None,
    "metrics.refresh_seconds": 60,
    "metrics.max_lag_sessions": 1,
    "metrics.max_missing": 0,
    "metrics.max_suspect": None,
}
JANUARY = TradingDate.parse("2027-01-12")
REQUIRED = ("provider", "symbols", "start", "end")
READ: list[tuple[str, str, Any]] = [
    ("provider", "alpaca", "alpaca"),
    ("symbols", "[MSFT, BRK.B, AAPL, MSFT]", as_symbols(["AAPL", "BRK.B", "MSFT"])),
    ("symbol_lists", "{tech: [MSFT, AAPL]}", {"tech": as_symbols(["AAPL", "MSFT"])}),
    ("start", "2023-12-29", TradingDate.parse("2023-12-29")),
    ("end", "2024-02-29", TradingDate.parse("2024-02-29")),
    ("end", "latest", "latest"),
    ("coverage.hole_minutes", "45", 45),
    ("coverage.hole_bars", "12", 12.0),
    ("coverage.stop_minutes", "5", 5),
    ("coverage.stop_bars", "2.5", 2.5),
    ("coverage.habit_factor", "1", 1.0),
    ("coverage.neighbours", "20", 20),
    ("coverage.unlisted_sessions", "1", 1),
    ("coverage.confirmations", "3", 3),
    ("calendar.exceptions", "[{date: 2027-01-12, closed: true}]", (CalendarException(JANUARY, closed=True),)),
    ("calendar.exceptions", "[{date: 2027-01-12, opens: 9:33}]", (CalendarException(JANUARY, opens=time(9, 33)),)),
    (
        "calendar.exceptions",
        "[{date: 2027-01-13, closes: '13:00'}, {date: 2027-01-12, opens: 10:00, closes: 15:30}]",
        (
            CalendarException(JANUARY, time(10), time(15, 30)),
            CalendarException(TradingDate.parse("2027-01-13"), closes=time(13)),
        ),
    ),
    (
        "calendar.halts",
        "[{date: 2027-01-12, from: '09:50', to: 11:35:30}, "
        "{date: 2027-01-12, from: 10:00, to: 10:05, symbols: [BRK.A]}]",
        (
            HaltConfig(JANUARY, time(9, 50), time(11, 35, 30)),
            HaltConfig(JANUARY, time(10), time(10, 5), as_symbols(["BRK.A"])),
        ),
    ),
    ("root", "/srv/bars", Path("/srv/bars")),
    ("session", "regular", SessionKind.REGULAR),
    ("output_path", "/var/bars", Path("/var/bars")),
    ("aggregates_path", "../aggs", Path("../aggs")),
    ("quarantine_path", "~/q", Path.home() / "q"),
    ("revisions_path", "old", Path("old")),
    ("official_path", "exchange", Path("exchange")),
    ("copies_path", "/fast/copies", Path("/fast/copies")),
    ("state_path", "s.db", Path("s.db")),
    ("compression", "snappy", "snappy"),
    ("timeframes", "[1d, 30m, 4h, 30m]", (Timeframe.MINUTE_30, Timeframe.HOUR_4, Timeframe.DAY_1)),
    ("timeframes", "[]", ()),
    *(("read_copies", form, form) for form in ("none", "parquet", "arrow")),
    ("workers", "1", 1),
    ("workers", "64", 64),
    *(("executor", kind, kind) for kind in ("threads", "processes", "dask")),
    *(("scheduler", text, text) for text in ("tls://dask.example:8786", "tcp://127.0.0.1:8786", "tls://[::1]:8786")),
    ("insecure_scheduler", "true", True),
    *(("alpaca.feed", feed, feed) for feed in ("sip", "iex", "otc")),
    *(("alpaca.asof", text, text) for text in ("-", "2022-06-09")),
    *(("alpaca.adjustment", kind, kind) for kind in ("raw", "split", "dividend", "spin-off", "all")),
    ("alpaca.base_url", "http://127.0.0.1:8765/", "http://127.0.0.1:8765"),
    ("alpaca.rate_limit_per_min", "10_000", 10_000),
    ("synthetic.seed", "0", 0),
    ("synthetic.seed", "2147483647", 2**31 - 1),
    (
        "validation.severities",
        "{a_rule: off, b_rule: warning, c_rule: error}",
        {"a_rule": Severity.OFF, "b_rule": Severity.WARNING, "c_rule": Severity.ERROR},
    ),
    ("metrics.enabled", "true", True),
    ("metrics.enabled", "False", False),
    ("metrics.host", "0.0.0.0", "0.0.0.0"),
    ("metrics.port", "0", 0),
    ("metrics.port", "65535", 65535),
    ("metrics.store", "us-equities", "us-equities"),
    ("metrics.store", "null", None),
    ("metrics.textfile", "/var/lib/node_exporter/mp.prom", Path("/var/lib/node_exporter/mp.prom")),
    ("metrics.pushgateway", "http://10.0.0.5:9091/", "http://10.0.0.5:9091"),
    ("metrics.refresh_seconds", "1", 1),
    ("metrics.max_lag_sessions", "0", 0),
    ("metrics.max_missing", "null", None),
    ("metrics.max_suspect", "25", 25),
]


def test_every_key_of_a_file_has_a_default_or_is_required() -> None:
    top = {key for key in known_keys(PipelineConfig) if key not in SECTIONS}
    nested = {f"{name}.{key}" for name, kind in SECTIONS.items() for key in known_keys(kind)}
    assert top | nested == {*DEFAULTS, *REQUIRED}


def test_every_key_is_read_by_a_test_here() -> None:
    assert {key for key, _, _ in READ} == {*DEFAULTS, *REQUIRED}


@pytest.mark.parametrize("key", DEFAULTS)
def test_key_that_is_left_out_has_its_default(key: str, load_text: LoadText) -> None:
    assert value_of(load_text(yaml_text()), key) == DEFAULTS[key]


@pytest.mark.parametrize(("key", "text", "value"), READ)
def test_key_is_read(key: str, text: str, value: object, load_text: LoadText) -> None:
    others = {"executor": "dask"} if key.endswith("scheduler") else {}
    assert value_of(load_text(yaml_text({**others, key: text})), key) == value


@pytest.mark.parametrize("key", REQUIRED)
@pytest.mark.parametrize("left_out", [None, "", "null", "~"])
def test_required_key_that_is_left_out_or_empty_is_named(
    key: str, left_out: str | None, load_text: LoadText, config_file: Path
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load_text(yaml_text({key: left_out}))
    assert str(refusal.value) == f"{config_file}: missing {key}"


def test_all_required_keys_that_are_missing_are_named_at_once(load_text: LoadText, config_file: Path) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load_text("workers: 2\n")
    assert str(refusal.value) == f"{config_file}: missing provider, symbols, start, end"


@pytest.mark.parametrize("section", SECTIONS)
def test_section_without_keys_has_its_defaults(section: str, load_text: LoadText) -> None:
    plain = value_of(load_text(yaml_text()), section)
    assert value_of(load_text(yaml_text({section: ""})), section) == plain
    assert value_of(load_text(yaml_text({section: "{}"})), section) == plain


def test_first_and_last_trading_date_may_be_the_same_but_not_swapped(load_text: LoadText, config_file: Path) -> None:
    assert load_text(yaml_text(start="2024-01-31")).start == TradingDate.parse("2024-01-31")
    with pytest.raises(ConfigurationError) as refusal:
        load_text(yaml_text(start="2024-02-01"))
    assert str(refusal.value) == f"{config_file}: end: 2024-01-31 is before start 2024-02-01"


def test_path_of_the_file_may_be_text(config_file: Path) -> None:
    config_file.write_text(yaml_text(workers="3"))
    assert load_config(str(config_file)).workers == 3
    assert load_store_config(str(config_file)).compression == "zstd"


def test_the_store_without_a_file_is_in_the_current_folder() -> None:
    assert load_store_config(None) == StoreConfig()


def test_loading_creates_nothing(load_text: LoadText, config_file: Path) -> None:
    load_text(yaml_text(output_path=str(config_file.parent / "bars"), state_path=str(config_file.parent / "s" / "db")))
    assert list(config_file.parent.iterdir()) == [config_file]


def test_configuration_cannot_be_changed(load_text: LoadText) -> None:
    config = load_text(yaml_text())
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.workers = 8  # type: ignore[misc]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.alpaca.feed = "sip"  # type: ignore[misc]


def test_changed_copy_of_a_configuration_is_checked_again(load_text: LoadText) -> None:
    config = load_text(yaml_text())
    assert attrs.evolve(config, workers=8).workers == 8
    with pytest.raises(ConfigurationError, match=r"^workers: expected a whole number from 1 to 64, not 0$"):
        attrs.evolve(config, workers=0)


def test_configuration_made_in_python_takes_values_of_several_types() -> None:
    day = TradingDate.parse("2024-01-02")
    config = PipelineConfig(
        provider="synthetic", symbols=("MSFT", "AAPL"), start=day, end=day.day, alpaca={"feed": "sip"}
    )
    assert config.symbols == as_symbols(["AAPL", "MSFT"])
    assert (config.start, config.end, config.alpaca.feed) == (day, day, "sip")


@pytest.mark.parametrize(
    ("output", "aggregates", "state"),
    [
        ("data", "aggregates", "state/marketpipe.sqlite"),
        ("./data", "aggregates", "state/marketpipe.sqlite"),
        ("/srv/sip/data", "/srv/sip/aggregates", "/srv/sip/state/marketpipe.sqlite"),
        ("data_sip", "data_sip_aggregates", "data_sip_state/marketpipe.sqlite"),
        ("stores/iex", "stores/iex_aggregates", "stores/iex_state/marketpipe.sqlite"),
    ],
)
def test_a_place_that_is_not_named_belongs_to_the_output_path(
    load_text: LoadText, output: str, aggregates: str, state: str
) -> None:
    config = load_text(yaml_text(output_path=output))

    assert (config.aggregates_path, config.state_path) == (Path(aggregates), Path(state))
    others = (config.quarantine_path, config.revisions_path, config.official_path)
    assert [str(path) for path in others] == [
        aggregates.replace("aggregates", area) for area in ("quarantine", "revisions", "official")
    ]


def test_a_place_that_is_named_stays_whatever_the_output_path_is(load_text: LoadText) -> None:
    config = load_text(yaml_text(output_path="elsewhere", aggregates_path="aggregates", revisions_path="a/revs"))

    assert (config.aggregates_path, config.revisions_path) == (Path("aggregates"), Path("a/revs"))
    assert config.official_path == Path("a/official")
