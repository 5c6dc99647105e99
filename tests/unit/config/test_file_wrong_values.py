from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest

from marketpipe.config.classes import SECTIONS, StoreConfig
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from tests.unit.config.test_file_keys_and_defaults import DEFAULTS, REQUIRED
from tests.unit.config.yaml_texts import LoadText, yaml_text

NO_WORD = ["5", "1.5", "true", "[word]", "{word: word}", '""', '"  "']
NO_CHOICE = [*NO_WORD, "null", "word", "'Off'"]
NO_PATH = [*NO_WORD, "null", '"a\\0b"', "~nobody.has.this.name/bars", "gs://bucket/bars", "file:///srv/bars"]
NO_COUNT = ["null", "'4'", "4.0", "four", "true", "[4]", "{four: 4}", "-1", ".inf", ".nan", "0x10", "010", "1:30"]
NO_NUMBER = ["null", "'4'", "four", "true", "[4]", "{four: 4}", "-1", ".inf", ".nan", "0x10", "1:30"]
NO_DATE = ["5", "20240102", "true", "[2024-01-02]", "{a: b}", '""', "2024-1-2", "2024-02-30", "2024-13-01"]
NO_DATE += ["2024-01-02T00:00:00Z", "2024-01-02 09:30:00", "01/02/2024", "today", "2024-W01-1", "2024-002"]
NO_LIST = ["null", "5", "true", "word", "{date: 2027-01-12, closed: true}", "[5]", "[[]]", "[word]", "[{}]", "[null]"]
NO_URL = ["5", "[a]", "null", '""', "data.alpaca.markets", "ftp://data.alpaca.markets", "https://", "'https://[::1'"]
WRONG: dict[str, list[str]] = {
    "root": NO_PATH,
    "session": NO_CHOICE,
    "output_path": NO_PATH,
    "aggregates_path": NO_PATH,
    "quarantine_path": NO_PATH,
    "revisions_path": NO_PATH,
    "official_path": NO_PATH,
    "copies_path": NO_PATH,
    "state_path": NO_PATH,
    "compression": [*NO_CHOICE, "gzip", "ZSTD"],
    "timeframes": ["5m", "5", "null", "true", "{5m: 1h}", "[4m]", "[1m, 5m]", "[5]", "[null]", "[[5m]]", "[{5m: 1}]"],
    "read_copies": [*NO_CHOICE, "null", "feather", "Arrow"],
    "symbol_lists": ["5", "[AAPL]", "{tech: AAPL}", "{tech: [aapl]}", "{tech: []}", "{5: [A]}", "{tech: null}"],
    "provider": NO_WORD,
    "symbols": ["A,B", "5", "true", "{AAPL: 1}", "[]", "[aapl]", "[5]", "[null]", "[[A]]", "[{A: B}]", "['']"],
    "start": NO_DATE,
    "end": NO_DATE,
    "workers": [*NO_COUNT, "0", "65"],
    "executor": [*NO_CHOICE, "thread", "Processes"],
    "scheduler": [
        *("5", "true", "[tls://h:1]", "''", "h:8786", "http://h:8786", "tls://h", "tls://h:0", "tls://h:8786/x"),
        *("tls://:8786", "tls://u:p@h:8786", "tls://h:8786?a=1", "tls://h:nine", "tcp://h:70000"),
    ],
    "insecure_scheduler": ["5", "null", "'true'", "[true]"],
    "alpaca.feed": [*NO_CHOICE, "IEX", "boats", "overnight"],
    "alpaca.asof": NO_DATE,
    "alpaca.adjustment": [*NO_CHOICE, "splits"],
    "alpaca.base_url": NO_URL,
    "alpaca.rate_limit_per_min": [*NO_COUNT, "0", "1000001"],
    "synthetic.seed": [*NO_COUNT, "2147483648"],
    "validation.severities": [
        "null",
        "5",
        "[a]",
        "off",
        "{r: fatal}",
        "{r: true}",
        "{r: null}",
        "{5: off}",
        "{'': off}",
    ],
    "coverage.hole_minutes": [*NO_COUNT, "0", "391"],
    "coverage.hole_bars": [*NO_NUMBER, "0.9", "391"],
    "coverage.stop_minutes": [*NO_COUNT, "0", "391"],
    "coverage.stop_bars": [*NO_NUMBER, "0", "390.5"],
    "coverage.habit_factor": [*NO_NUMBER, "0.5", "1000"],
    "coverage.neighbours": [*NO_COUNT, "0", "251"],
    "coverage.unlisted_sessions": [*NO_COUNT, "0", "251"],
    "coverage.confirmations": [*NO_COUNT, "1", "101"],
    "calendar.exceptions": [
        *NO_LIST,
        "[{date: 2027-01-12}]",
        "[{closed: true}]",
        "[{date: 2027-01-12, closed: false}]",
        "[{date: 2027-01-12, closed: 1}]",
        "[{date: 2027-01-12, closed: true, opens: 10:00}]",
        "[{date: 2027-01-12, opens: 10}]",
        "[{date: 2027-01-12, opens: 12:30}]",
        "[{date: 2027-01-12, closes: 25:00}]",
        "[{date: 2027-1-12, closed: true}]",
        "[{date: 2027-01-10, closed: true}]",
        "[{date: 2027-01-12, close: 13:00}]",
        "[{date: 2027-01-12, closed: true}, {date: 2027-01-12, opens: 10:00}]",
    ],
    "calendar.halts": [
        *NO_LIST,
        "[{date: 2027-01-12, from: 10:00}]",
        "[{date: 2027-01-12, from: 10:00, to: 10:00}]",
        "[{date: 2027-01-12, from: 03:00, to: 10:00}]",
        "[{date: 2027-01-12, from: 10:00, to: 20:30}]",
        "[{date: 2027-01-12, from: 10:00, to: 11:00, symbols: []}]",
        "[{date: 2027-01-12, from: 10:00, to: 11:00, symbols: 5}]",
    ],
    "metrics.enabled": ["null", "1", "0", "'true'", "yes", "on", "off", "no", "[true]", "{}"],
    "metrics.host": [*NO_WORD, "null"],
    "metrics.port": [*NO_COUNT, "65536", "22:22"],
    "metrics.store": ["5", "''", "[]", '"a\\nb"', "a" * 101],
    "metrics.textfile": ["5", "mp.txt", "''", "s3://bucket/mp.prom"],
    "metrics.pushgateway": [
        "5",
        "127.0.0.1:9091",
        "ftp://host",
        "http://me:secret@host:9091",
        "'http://host/?a=b'",
        "http://a b:9091",
        "http://bücher:9091",
    ],
    "metrics.refresh_seconds": [*NO_COUNT, "0", "86401"],
    "metrics.max_lag_sessions": [*NO_COUNT, "-1", "251"],
    "metrics.max_missing": ["-1", "1.5", "'3'", "[]"],
    "metrics.max_suspect": ["-1", "1.5", "'3'", "[]"],
}


def test_every_key_has_wrong_values_here() -> None:
    assert set(WRONG) == {*DEFAULTS, *REQUIRED}


@pytest.mark.parametrize(("key", "text"), [(key, text) for key, texts in WRONG.items() for text in texts])
def test_wrong_value_is_refused_with_the_file_and_the_key(
    key: str, text: str, load_text: LoadText, config_file: Path
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load_text(yaml_text({key: text}))
    assert str(refusal.value).startswith(f"{config_file}: {key}: ")


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("text", ["5", "word", "true", "[a, b]", "''", "0"])
def test_section_that_is_no_mapping_is_refused(section: str, text: str, load_text: LoadText, config_file: Path) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load_text(yaml_text({section: text}))
    assert str(refusal.value) == f"{config_file}: {section}: expected keys and values"


@pytest.mark.parametrize(
    ("key", "text", "reason"),
    [
        ("workers", "65", "expected a whole number from 1 to 64, not 65"),
        ("workers", "'4'", "expected a whole number from 1 to 64, not '4'"),
        ("compression", "std", "'std' is not allowed; did you mean 'zstd'?"),
        ("session", "regulr", "'regulr' is not allowed; did you mean 'regular'?"),
        ("alpaca.feed", "polygon", "'polygon' is not allowed; use one of: iex, otc, sip"),
        ("alpaca.asof", "today", "'today' is not a date written YYYY-MM-DD"),
        ("symbols", "5", "expected a list such as [AAPL, BRK.B], not 5"),
        ("timeframes", "[1m]", "1m bars are always stored; name only the timeframes to aggregate them to"),
        (
            "timeframes",
            "[4m]",
            "'4m' is not a timeframe; did you mean '5m'? "
            "Use one of: 1m, 2m, 3m, 5m, 10m, 15m, 30m, 1h, 2h, 4h, 1d, 1w, 1mo",
        ),
        ("start", "2024-1-2", "'2024-1-2' is not a date written YYYY-MM-DD"),
        ("metrics.enabled", "yes", "expected true or false, not 'yes'"),
        (
            "calendar.exceptions",
            "[{date: 2027-01-12, close: 13:00}]",
            "entry 1: unknown key 'close'; did you mean 'closes'?",
        ),
        (
            "calendar.exceptions",
            "[{date: 2027-01-11, closed: true}, {date: 2027-01-12, opens: noon}]",
            "entry 2: opens: 'noon' is not a time of day in New York such as 09:33",
        ),
        (
            "calendar.exceptions",
            "[{date: 2027-01-12, opens: 12:30}]",
            "entry 1: 2027-01-12: opens: 12:30 is not between 04:00 and 12:00 New York time",
        ),
        (
            "calendar.halts",
            "[{date: 2027-01-12, from: 10:00}]",
            "entry 1: missing to, as in {date: 2024-06-03, from: '09:50', to: '11:35', symbols: [BRK.A]}",
        ),
        ("validation.severities", "{r: warn}", "'warn' is not allowed; did you mean 'warning'?"),
    ],
)
def test_refusal_says_what_to_write_instead(
    key: str, text: str, reason: str, load_text: LoadText, config_file: Path
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load_text(yaml_text({key: text}))
    assert str(refusal.value) == f"{config_file}: {key}: {reason}"


def test_folders_with_circular_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    if sys.version_info < (3, 13):  # from 3.13 on resolve() does not fail; opening the path does
        with pytest.raises(ConfigurationError, match=r"^output_path: .*a/data cannot be resolved: "):
            StoreConfig(output_path=tmp_path / "a" / "data")


def test_a_current_folder_that_is_gone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    with contextlib.chdir(tmp_path / "gone"):
        (tmp_path / "gone").rmdir()
        with pytest.raises(ConfigurationError, match=r"^output_path: data cannot be resolved: "):
            StoreConfig()


def test_a_path_of_other_bytes_than_utf_8_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="^state_path: .* cannot be written in UTF-8$"):  # noqa: RUF043
        StoreConfig(state_path=Path(os.fsdecode(b"state-\xff")))


@pytest.mark.parametrize(
    ("output", "aggregates", "quarantine"),
    [
        ("data", "data", "quarantine"),
        ("data", "aggregates", "data"),
        ("data", "data/aggregates", "quarantine"),
        ("data", "aggregates", "./data/../aggregates"),
        ("a/b", "c", "a"),
    ],
)
def test_folders_inside_one_another_are_refused(output: str, aggregates: str, quarantine: str) -> None:
    with pytest.raises(ConfigurationError, match="give each a folder of its own"):
        StoreConfig(output_path=Path(output), aggregates_path=Path(aggregates), quarantine_path=Path(quarantine))


@pytest.mark.parametrize("feed", ["boats", "overnight"])
def test_a_feed_of_the_overnight_window_is_refused_with_the_reason(feed: str, load_text: LoadText) -> None:
    with pytest.raises(ConfigurationError, match=r"between 20:00 and 04:00 New York time.*use one of: sip, iex, otc"):
        load_text(yaml_text({"alpaca.feed": feed}))


@pytest.mark.parametrize(("key", "text"), [("scheduler", "tls://h:8786"), ("insecure_scheduler", "true")])
def test_a_key_of_dask_is_refused_with_another_executor(key: str, text: str, load_text: LoadText) -> None:
    with pytest.raises(ConfigurationError, match=f"{key}: is for executor: dask, and this executor is processes"):
        load_text(yaml_text({key: text, "executor": "processes"}))
