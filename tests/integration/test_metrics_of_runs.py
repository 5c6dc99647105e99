"""What metrics show of runs: live in a registry, and added up in the state for later processes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest
from prometheus_client import CollectorRegistry

from marketpipe import ConfigurationError, Event, Pipeline, RunFinished
from marketpipe.config import PipelineConfig
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.events import BarsCompared, JobStarted
from marketpipe.testing import FakeClock, sessions
from tests.support.pipeline_ring import FRIDAY, THURSDAY, TUESDAY, WEDNESDAY, config, minutes
from tests.support.scripted_provider import ScriptedProvider

DATES = [TUESDAY, WEDNESDAY, THURSDAY, FRIDAY]
BARS = {symbol: {date: minutes(date, 5) for date in DATES} for symbol in ("AAPL", "MSFT")}


def _value(registry: CollectorRegistry, root: Path, name: str, **labels: str) -> float | None:
    store = {"store": str(root / "data"), "provider": "scripted", "session": "extended"}
    return registry.get_sample_value(f"marketpipe_{name}", {**store, **labels})


def _pipeline(settings: PipelineConfig, provider: ScriptedProvider, registry: CollectorRegistry) -> Pipeline:
    return Pipeline(settings, registry=registry, market_data_provider=provider, clock=FakeClock())


def _state(root: Path) -> SQLiteState:
    return SQLiteState(root / "state" / "marketpipe.sqlite", "../data")


def test_a_run_is_recorded_with_its_kind_its_state_and_what_it_counted(tmp_path: Path) -> None:
    settings, registry = config(tmp_path, ["AAPL", "MSFT"], TUESDAY, FRIDAY, timeframes=["5m"]), CollectorRegistry()
    with _pipeline(settings, ScriptedProvider(BARS), registry) as made:
        made.ingest()
        made.aggregate()
        made.verify()

    state = _state(tmp_path)
    assert [(run.kind, run.state) for run in state.runs.latest()] == [
        ("aggregate", "completed"),
        ("ingest", "completed"),
        ("verify", "completed"),
    ]
    totals = state.runs.totals()
    state.close()
    assert totals["bars_ingested_total", ()] == 40 == _value(registry, tmp_path, "bars_ingested_total")
    assert totals["partitions_written_total", ()] == 8
    synced = totals["files_synced_total", ()]
    assert synced == _value(registry, tmp_path, "files_synced_total") >= 8 + 2
    for kind in ("ingest", "aggregate", "verify"):
        assert totals["jobs_total", (kind, "completed")] == 1
        assert _value(registry, tmp_path, "jobs_total", job_kind=kind, state="completed") == 1
        assert _value(registry, tmp_path, "jobs_total", job_kind=kind, state="failed") == 0
        assert _value(registry, tmp_path, "job_seconds_total", job_kind=kind) == 0  # the clock stands still


def test_a_verification_that_finds_damage_has_failed(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with _pipeline(config(tmp_path, ["AAPL"], TUESDAY, FRIDAY), ScriptedProvider(BARS), registry) as made:
        made.ingest()
        (file,) = (tmp_path / "data").rglob("day=03.parquet")
        file.write_bytes(b"altered")
        assert not made.verify().ok

    assert _value(registry, tmp_path, "jobs_total", job_kind="verify", state="failed") == 1


def test_what_a_run_counted_while_its_end_could_not_be_recorded_is_kept_by_the_next_one(tmp_path: Path) -> None:
    settings, database = config(tmp_path, ["AAPL"], TUESDAY, FRIDAY), tmp_path / "state" / "marketpipe.sqlite"

    def refuse_or_allow(event: RunFinished) -> None:
        change = "runs RENAME TO hidden" if event.kind == "ingest" else "hidden RENAME TO runs"
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(f"ALTER TABLE {change}")

    with _pipeline(settings, ScriptedProvider(BARS), CollectorRegistry()) as made:
        made.subscribe(RunFinished, refuse_or_allow)
        made.ingest()
        made.verify()

    state = _state(tmp_path)
    assert state.runs.totals()["bars_ingested_total", ()] == 20
    state.close()


def test_the_totals_of_several_processes_add_up(tmp_path: Path) -> None:
    for end in (WEDNESDAY, FRIDAY):
        settings = config(tmp_path, ["AAPL"], TUESDAY, end)
        with _pipeline(settings, ScriptedProvider(BARS), CollectorRegistry()) as made:
            made.ingest()

    state = _state(tmp_path)
    assert state.runs.totals()["bars_ingested_total", ()] == 20
    assert state.runs.totals()["jobs_total", ("ingest", "completed")] == 2
    state.close()


def test_a_run_that_was_refused_leaves_the_record_of_the_last_one(tmp_path: Path) -> None:
    events = list[Event]()
    with _pipeline(config(tmp_path, ["AAPL"], TUESDAY, FRIDAY), ScriptedProvider(BARS), CollectorRegistry()) as made:
        made.subscribe(RunFinished, events.append)
        with pytest.raises(ConfigurationError):
            made.ingest(start=FRIDAY, end=TUESDAY)
        assert not (tmp_path / "state").exists()
    assert events == []


def test_two_stores_in_one_registry_are_counted_apart(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    for name, symbols in (("one", ["AAPL"]), ("two", ["AAPL", "MSFT"])):
        with _pipeline(config(tmp_path / name, symbols, TUESDAY, FRIDAY), ScriptedProvider(BARS), registry) as made:
            made.ingest()

    bars = [_value(registry, tmp_path / name, "bars_ingested_total") for name in ("one", "two")]
    assert bars == [20, 40]


def test_the_backlogs_of_two_pipelines_on_one_store_add_up_and_end_at_nothing(tmp_path: Path) -> None:
    registry, seen = CollectorRegistry(), list[float | None]()
    one, two = (config(tmp_path, [symbol], TUESDAY, FRIDAY) for symbol in BARS)

    def note(_: object = None) -> None:
        seen.append(_value(registry, tmp_path, "backlog_symbol_days"))

    def ingest_beside(_: JobStarted) -> None:
        note()
        with _pipeline(two, ScriptedProvider(BARS), registry) as other:
            other.subscribe(JobStarted, note)
            other.ingest()
        note()

    with _pipeline(one, ScriptedProvider(BARS), registry) as made:
        made.subscribe(JobStarted, ingest_beside)
        made.ingest()
    note()
    assert seen == [4, 8, 4, 0]


def test_an_audit_counts_what_it_found_and_what_was_adopted(tmp_path: Path) -> None:
    dates = [str(session.trading_date) for session in sessions("2024-01-02", "2024-01-12")]
    history = {"AAPL": {date: minutes(date, 8) for date in dates}}
    settings, registry = config(tmp_path, ["AAPL"], dates[0], dates[-1]), CollectorRegistry()
    provider = ScriptedProvider(history)
    with _pipeline(settings, provider, registry) as made:
        made.ingest()
        for date in dates[2:4]:
            provider.bars["AAPL"][date] = minutes(date, 8, price=101.0)
        made.audit(start=dates[0])
        found = _value(registry, tmp_path, "restatements_found_total", source="audit")
        unadopted = _state(tmp_path).runs.totals()["audit_unadopted_symbol_days", ()]
        made.audit(start=dates[0], adopt=True)

    assert (found, unadopted) == (2, 2)
    assert _value(registry, tmp_path, "restatements_adopted_total", source="audit") == 2
    state = _state(tmp_path)
    assert state.runs.totals()["audit_unadopted_symbol_days", ()] == 0
    state.close()


def test_a_day_that_the_provider_has_withdrawn_does_not_stay_unadopted_for_ever(tmp_path: Path) -> None:
    provider = ScriptedProvider({"AAPL": dict(BARS["AAPL"])})
    settings = config(tmp_path, ["AAPL"], TUESDAY, FRIDAY)
    with _pipeline(settings, provider, CollectorRegistry()) as made:
        made.ingest()
        del provider.bars["AAPL"][WEDNESDAY]
        provider.bars["AAPL"][THURSDAY] = minutes(THURSDAY, 5, price=101.0)
        report = made.audit(start=TUESDAY)

    state = _state(tmp_path)
    assert (len(report.restatements), len(report.withdrawn)) == (2, 1)
    assert state.runs.totals()["audit_unadopted_symbol_days", ()] == 1
    state.close()


def test_an_audit_that_was_stopped_is_not_taken_for_a_complete_one(tmp_path: Path) -> None:
    settings, registry = config(tmp_path, ["AAPL", "MSFT"], TUESDAY, FRIDAY, workers=1), CollectorRegistry()
    with _pipeline(settings, ScriptedProvider(BARS, symbols_per_request=1), registry) as made:
        made.ingest()
        made.subscribe(BarsCompared, lambda _: made.stop())
        made.audit(start=TUESDAY)

    assert _value(registry, tmp_path, "jobs_total", job_kind="audit", state="interrupted") == 1


@pytest.mark.parametrize(("error", "state"), [(RuntimeError, "failed"), (KeyboardInterrupt, "interrupted")])
def test_a_run_that_raises_has_failed_unless_it_was_stopped(
    tmp_path: Path, error: type[BaseException], state: str
) -> None:
    def fail(*_: object) -> NoReturn:
        raise error

    registry = CollectorRegistry()
    settings, clock = config(tmp_path, ["AAPL"], TUESDAY, FRIDAY), FakeClock()
    provider = ScriptedProvider(BARS)
    with (
        Pipeline(settings, registry=registry, market_data_provider=provider, clock=clock, new_executor=fail) as made,
        pytest.raises(error),
    ):
        made.ingest()

    assert _value(registry, tmp_path, "jobs_total", job_kind="ingest", state=state) == 1


def test_a_violated_rule_is_counted_by_its_name_and_severity(tmp_path: Path) -> None:
    rows = minutes(TUESDAY, 5)
    bars = {"AAPL": {TUESDAY: [{**rows[0], "high": 1.0}, *rows[1:]]}}
    settings, registry = config(tmp_path, ["AAPL"], TUESDAY, TUESDAY), CollectorRegistry()
    with _pipeline(settings, ScriptedProvider(bars), registry) as made:
        made.ingest()

    assert _value(registry, tmp_path, "rule_violations_total", rule="high_is_highest", severity="error") == 1
    assert _value(registry, tmp_path, "bars_rejected_total") == 1
