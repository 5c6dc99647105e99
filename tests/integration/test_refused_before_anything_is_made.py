"""What can be refused is refused before a state, a lock or a folder is made; what comes late hides nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from marketpipe import ConfigurationError, MarketPipeError, Pipeline, StoreConfig, load_ohlcv
from marketpipe.config import PipelineConfig, load_config
from tests.support.in_process_cli import run_in_process
from tests.support.pipeline_ring import TUESDAY, WEDNESDAY, config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider


def provider() -> ScriptedProvider:
    return ScriptedProvider({"AAPL": {TUESDAY: minutes(TUESDAY)}})


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.ingest(),
        lambda store: store.update(),
        lambda store: store.audit(sample="100%"),
    ],
    ids=["ingest", "update", "audit"],
)
def test_without_keys_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Pipeline], object]
) -> None:
    monkeypatch.chdir(tmp_path)  # there is no .env here
    for name in ("ALPACA_KEY", "ALPACA_SECRET", "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    settings = config(tmp_path, ["AAPL"], TUESDAY, WEDNESDAY, provider="alpaca")

    with Pipeline(settings) as store, pytest.raises(ConfigurationError, match="ALPACA_KEY"):
        ask(store)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "ask", [lambda store: store.update(["../x"]), lambda store: store.recover()], ids=["update", "recover"]
)
def test_what_is_refused_takes_no_lock(tmp_path: Path, ask: Callable[[Pipeline], object]) -> None:
    settings = config(tmp_path, ["AAPL"], TUESDAY, TUESDAY)
    with pipeline(settings, provider()) as store:
        store.ingest()
    before = sorted(tmp_path.rglob("*"))

    with pipeline(settings, provider()) as store, pytest.raises(MarketPipeError):
        ask(store)

    assert sorted(tmp_path.rglob("*")) == before


def test_no_symbols_are_refused_by_every_method(tmp_path: Path) -> None:
    methods = ["plan", "ingest", "update", "audit", "coverage", "validate", "aggregate", "verify", "freeze", "drop"]
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, TUESDAY), provider()) as store:
        store.ingest()
        for name in methods:
            with pytest.raises(ConfigurationError, match="symbols: name at least one"):
                getattr(store, name)([])
        with pytest.raises(ConfigurationError, match="symbols: name at least one"):
            store.export(tmp_path / "out.csv", [])


def test_an_update_that_would_begin_in_the_future_makes_nothing(tmp_path: Path) -> None:
    settings = config(tmp_path, ["AAPL"], "2030-01-02", "2030-01-03")

    with pipeline(settings, provider()) as store, pytest.raises(ConfigurationError, match="the newest final session"):
        store.update()

    assert list(tmp_path.iterdir()) == []


def test_aggregates_that_cannot_be_locked_do_not_hide_what_was_ingested(tmp_path: Path) -> None:
    settings: PipelineConfig = config(tmp_path, ["AAPL"], TUESDAY, TUESDAY, timeframes=["1d"])
    settings.state_path.with_name(f"{settings.state_path.name}.aggregation-lock").mkdir(parents=True)

    with pipeline(settings, provider()) as store:
        report = store.ingest()

    assert (report.state, report.bars, report.ok) == ("completed", 4, False)
    (failure,) = report.aggregates.failures
    assert failure.startswith("cannot lock ")
    assert failure.endswith("; free space or allow writing there")


AREAS = ["output_path", "aggregates_path", "quarantine_path", "revisions_path", "official_path", "copies_path"]
LOCATIONS = [*AREAS, "state_path"]
URLS = ["s3://user:pass@bucket/x", "gs://bucket/x", "file:///srv/x", "S3:/bucket/x", "az+blob://x", "s3:"]
YAML = "provider: synthetic\nsymbols: [A]\nstart: 2024-01-02\nend: 2024-01-02\n"


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("key", [key for key in LOCATIONS if key != "output_path"])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_url_is_no_location(empty_folder: Path, key: str, url: str, kind: type) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{key}: .*://….* write a local path such as data") as refusal:
        StoreConfig(**{key: kind(url)})

    assert "pass" not in str(refusal.value)
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize("url", ["s3://user:pass@bucket/x", "gs://bucket/x", "s3:", "S3://bucket/x", "s3://bucket"])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_url_that_names_no_bucket_is_no_location_of_a_store(empty_folder: Path, url: str, kind: type) -> None:
    with pytest.raises(ConfigurationError, match=r"^output_path: ") as refusal:
        StoreConfig(output_path=kind(url), state_path="state.sqlite")

    assert "pass@" not in str(refusal.value)
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize("key", [key for key in LOCATIONS if key != "output_path"])
def test_a_url_in_a_file_is_no_location(empty_folder: Path, key: str) -> None:
    (empty_folder / "config.yaml").write_text(f"{YAML}{key}: s3://bucket/x\n")

    with pytest.raises(ConfigurationError, match=f"^config.yaml: {key}: s3://"):
        load_config("config.yaml")


def test_a_url_on_the_command_line_ends_with_exit_code_2(empty_folder: Path) -> None:
    (empty_folder / "config.yaml").write_text(YAML)

    ended = run_in_process("ingest", "--config", "config.yaml", "--output-path", "gs://bucket/x", cwd=empty_folder)

    assert ended.code == 2
    assert "the command line: output_path: gs://… is not supported" in ended.err
    assert [path.name for path in empty_folder.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("root", ["s3://bucket/x", Path("file:///srv/x")])
def test_a_url_is_no_root_of_a_store(empty_folder: Path, root: str | Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^root: .*write a local path such as data"):
        load_ohlcv("AAPL", "2024-01-02", "2024-01-02", root=root)

    assert list(empty_folder.iterdir()) == []


def test_locations_are_paths_as_before(empty_folder: Path) -> None:
    odd = empty_folder / "odd:" / "bars"
    config = StoreConfig(output_path=odd, aggregates_path="a:b/c", state_path=".", quarantine_path="~/rejected")

    assert (config.output_path, config.aggregates_path) == (odd, Path("a:b/c"))
    assert (config.state_path, config.quarantine_path) == (Path(), Path.home() / "rejected")
