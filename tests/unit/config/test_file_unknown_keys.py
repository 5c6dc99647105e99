from __future__ import annotations

from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from tests.unit.config.yaml_texts import LoadText, yaml_text

ALL_KEYS = (
    "use one of: aggregates_path, alpaca, calendar, compression, copies_path, coverage, end, executor, "
    "insecure_scheduler, metrics, official_path, output_path, provider, quarantine_path, read_copies, revisions_path, "
    "root, scheduler, session, start, state_path, symbol_lists, symbols, synthetic, timeframes, validation, workers"
)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("symbol", "symbols"),
        ("simbols", "symbols"),
        ("worker", "workers"),
        ("start_date", "start"),
        ("output", "output_path"),
        ("time_frames", "timeframes"),
        ("Provider", "provider"),
        ("provider_options", "provider"),
        ("alpacca", "alpaca"),
    ],
)
def test_unknown_key_is_refused_with_the_nearest_known_one(
    key: str, meant: str, load_text: LoadText, config_file: Path
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load_text(yaml_text({key: "5"}))
    assert str(refusal.value) == f"{config_file}: unknown key '{key}'; did you mean '{meant}'?"


@pytest.mark.parametrize(
    ("section", "key", "meant"),
    [
        ("alpaca", "feeds", "feed"),
        ("alpaca", "url", "base_url"),
        ("alpaca", "rate_limit", "rate_limit_per_min"),
        ("synthetic", "sead", "seed"),
        ("validation", "severity", "severities"),
        ("metrics", "enable", "enabled"),
    ],
)
def test_unknown_key_in_a_section_is_refused_with_the_nearest_of_that_section(
    section: str, key: str, meant: str, load_text: LoadText, config_file: Path
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load_text(yaml_text({f"{section}.{key}": "5"}))
    assert str(refusal.value) == f"{config_file}: unknown key '{section}.{key}'; did you mean '{meant}'?"


@pytest.mark.parametrize("key", ["zzz", "日本", "5", "1.5", "true", "null", "''"])
def test_unknown_key_unlike_any_other_is_refused_with_all_of_them(key: str, load_text: LoadText) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load_text(yaml_text({key: "5"}))
    assert str(refusal.value).endswith(f"; {ALL_KEYS}")


def test_unknown_key_in_a_section_unlike_any_other_is_refused_with_those_of_the_section(load_text: LoadText) -> None:
    known = (
        "enabled, host, max_lag_sessions, max_missing, max_suspect, port, pushgateway, refresh_seconds, store, textfile"
    )
    with pytest.raises(ConfigurationError, match=rf"unknown key 'metrics\.zzz'; use one of: {known}$"):
        load_text(yaml_text({"metrics.zzz": "5"}))


def test_key_of_a_section_does_not_belong_to_the_top(load_text: LoadText) -> None:
    with pytest.raises(ConfigurationError, match=r"unknown key 'feed'"):
        load_text(yaml_text(feed="sip"))


def test_unknown_key_is_refused_before_missing_ones_are_named(load_text: LoadText) -> None:
    with pytest.raises(ConfigurationError, match=r"unknown key 'symbol'; did you mean 'symbols'\?"):
        load_text(yaml_text({"symbols": None, "symbol": "[AAPL]"}))
