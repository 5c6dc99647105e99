"""Where ``get`` takes its settings from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from marketpipe.config import PipelineConfig
from marketpipe.getter import VARIABLES, found_settings
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from tests.support.pipeline_ring import config, pipeline
from tests.support.scripted_provider import ScriptedProvider

FIRST, LAST = "2024-01-02", "2024-01-03"
KEYS = {"ALPACA_KEY": "key", "ALPACA_SECRET": "secret"}
FILE = "provider: synthetic\nsymbols: [MSFT]\nstart: 2020-01-02\nend: 2020-01-03\nsynthetic: {seed: 11}\n"


def found(environment: Mapping[str, str], *, has_keys: bool = False, **given: Any) -> PipelineConfig:
    arguments = {name: given.get(name.rpartition(".")[2]) for name in VARIABLES}
    return found_settings(arguments, environment, "AAPL", FIRST, LAST, has_keys=has_keys)


def test_symbols_and_dates_are_those_of_the_call_and_the_store_is_in_the_root(tmp_path: Path) -> None:
    settings = found({}, root=tmp_path, provider="synthetic")

    assert (list(map(str, settings.symbols)), str(settings.start), str(settings.end)) == (["AAPL"], FIRST, LAST)
    assert settings.output_path == tmp_path / "data"


def test_keys_in_the_environment_or_in_dotenv_or_given_mean_alpaca(tmp_path: Path) -> None:
    assert found(KEYS, root=tmp_path).provider == "alpaca"
    assert found({}, root=tmp_path, has_keys=True).provider == "alpaca"
    (tmp_path / ".env").write_text("APCA_API_KEY_ID=key\nAPCA_API_SECRET_KEY=secret\n")
    assert found({}, root=tmp_path).provider == "alpaca"


def test_without_keys_and_provider_the_error_names_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"ALPACA_KEY and ALPACA_SECRET.*provider='synthetic'.*marketpipe init"
    ):
        found({}, root=tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_half_a_pair_of_keys_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ALPACA_KEY=mine\n")
    with pytest.raises(ConfigurationError, match=r"ALPACA_KEY is set and ALPACA_SECRET is not: set ALPACA_SECRET"):
        found({}, root=tmp_path)


def test_arguments_win_over_the_environment_and_both_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "marketpipe.yaml").write_text(FILE)
    environment = {"MARKETPIPE_PROVIDER": "alpaca", "MARKETPIPE_FEED": "iex", "MARKETPIPE_ROOT": str(tmp_path)}

    assert found({}, root=tmp_path).synthetic.seed == 11
    assert (found(environment).provider, found(environment).alpaca.feed) == ("alpaca", "iex")
    assert found(environment, provider="synthetic").provider == "synthetic"
    assert found(environment, feed="otc").alpaca.feed == "otc"
    assert found(environment | {"MARKETPIPE_PROVIDER": ""}).provider == "synthetic"


def test_a_named_file_wins_over_the_usual_one(tmp_path: Path) -> None:
    (tmp_path / "marketpipe.yaml").write_text(FILE)
    (tmp_path / "other.yaml").write_text(FILE.replace("11", "12"))
    (tmp_path / "third.yaml").write_text(FILE.replace("11", "13"))
    named = {"MARKETPIPE_CONFIG": str(tmp_path / "other.yaml")}

    assert found(named, root=tmp_path).synthetic.seed == 12
    assert found(named, root=tmp_path, config=tmp_path / "third.yaml").synthetic.seed == 13
    with pytest.raises(ConfigurationError, match=r"absent.yaml: cannot be read"):
        found({}, root=tmp_path, config=tmp_path / "absent.yaml")


def test_a_file_is_completed_with_the_symbols_of_the_call(tmp_path: Path) -> None:
    (tmp_path / "marketpipe.yaml").write_text(FILE)

    assert [str(symbol) for symbol in found({}, root=tmp_path).symbols] == ["AAPL"]


def test_without_a_file_the_store_goes_on_with_its_own_dataset_and_hours(tmp_path: Path) -> None:
    first = PipelineConfig(
        provider="synthetic",
        symbols=["AAPL"],
        start=FIRST,
        end=LAST,
        root=tmp_path,
        session="regular",
        synthetic={"seed": 5},
    )
    with pipeline(first, None) as made:
        made.ingest()

    settings = found(KEYS, root=tmp_path)
    assert (settings.provider, settings.synthetic.seed, str(settings.session)) == ("synthetic", 5, "regular")
    assert found({}, root=tmp_path, provider="alpaca").provider == "alpaca"


def test_a_provider_that_a_package_brings_is_named_only(tmp_path: Path) -> None:
    with pipeline(config(tmp_path, ["AAPL"], FIRST, LAST), ScriptedProvider({})) as made:
        made.ingest()

    assert found({}, root=tmp_path).provider == "scripted"


def test_a_configuration_object_says_it_all(tmp_path: Path) -> None:
    settings = config(tmp_path, ["AAPL"], FIRST, LAST)

    assert found({"MARKETPIPE_PROVIDER": "alpaca"}, config=settings) is settings
    with pytest.raises(ConfigurationError, match="provider: the PipelineConfig says it already"):
        found({}, config=settings, provider="alpaca")


def test_an_argument_that_is_not_valid_is_said_to_be_one_of_get() -> None:
    with pytest.raises(
        ConfigurationError, match=r"^the arguments of get: alpaca\.feed: 'ipx' is not allowed; did you mean"
    ):
        found({}, provider="alpaca", feed="ipx")


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("MARKETPIPE_PROVIDER", "alpacca", "^MARKETPIPE_PROVIDER: provider: no provider is called 'alpacca'; did you"),
        ("MARKETPIPE_FEED", "iexx", r"^MARKETPIPE_FEED: alpaca\.feed: 'iexx' is not allowed; did you mean 'iex'"),
        ("MARKETPIPE_CONFIG", "absent.yaml", "^MARKETPIPE_CONFIG: there is no file /.*/absent.yaml"),
    ],
)
def test_a_variable_that_is_not_valid_is_named(tmp_path: Path, variable: str, value: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        found({**KEYS, variable: value}, root=tmp_path)


def test_a_feed_that_the_provider_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="feed: it is one of Alpaca, and the provider is synthetic"):
        found({}, root=tmp_path, provider="synthetic", feed="sip")
    assert found({"MARKETPIPE_FEED": "sip"}, root=tmp_path, provider="synthetic").provider == "synthetic"
