"""Ingestion on real Dask clusters: schedulers and workers in processes of their own, some of which are killed."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import pytest
from attrs import evolve
from prometheus_client import CollectorRegistry

from marketpipe import ConfigurationError, Credentials, Pipeline, PipelineConfig
from marketpipe.dask_cluster import DaskCluster
from marketpipe.shared_kernel.domain.errors import EngineFailedError
from marketpipe.shared_kernel.events import AttemptLost, JobStarted
from marketpipe.testing import Response, sessions
from tests.support.alpaca_loopback import AlpacaLoopback, record
from tests.support.child_processes import Popen, run, wait_until
from tests.support.cli_process import fresh_marketpipe, result_of, start_fresh_marketpipe
from tests.support.dask_servers import DaskServers, running_dask
from tests.support.pipeline_ring import contents

pytestmark = pytest.mark.slow
KEYS = Credentials("key-4711-4711", "secret-0815-0815")
OF_WORKERS = {"ALPACA_KEY": "key-4711-4711", "ALPACA_SECRET": "secret-0815-0815"}
DAYS = ["2024-03-04", "2024-03-05"]
SYMBOLS = ["AAPL", "BRK.B", "MSFT"]
HALF_A_YEAR = [str(session.trading_date) for session in sessions("2024-01-02", "2024-06-07")]
SEVEN = ["AAPL", "IBM", "KILLER", "MSFT", "SPY", "TSLA", "V"]
ONE_BATCH_EACH = {"start": HALF_A_YEAR[0], "end": HALF_A_YEAR[-1], "symbols": SEVEN, "workers": len(SEVEN)}
"""Half a year of seven symbols, of which nothing is known, would be two batches: these are cut for seven workers."""


def bars_of(symbols: list[str], days: list[str], a_day: int = 30) -> dict[str, list[Any]]:
    return {
        symbol: [record(f"{day}T15:{minute:02d}:00Z", 100.0 + n) for day in days for minute in range(a_day)]
        for n, symbol in enumerate(symbols)
    }


def config(root: Path, url: str, **changes: Any) -> PipelineConfig:
    values: dict[str, Any] = {"provider": "alpaca", "symbols": SYMBOLS, "start": DAYS[0], "end": DAYS[1]}
    values |= {"root": root, "workers": 2, "timeframes": [], "executor": "dask"}
    return PipelineConfig(**{**values, "alpaca": {"base_url": url, "rate_limit_per_min": 100_000}, **changes})


def opened(settings: PipelineConfig, registry: CollectorRegistry | None = None, **others: Any) -> Pipeline:
    return Pipeline(settings, credentials=KEYS, registry=registry or CollectorRegistry(), **others)


def count(registry: CollectorRegistry, name: str) -> float:
    return sum(sample.value for metric in registry.collect() for sample in metric.samples if sample.name == name)


@contextmanager
def cluster(workers: int, **options: Any) -> Iterator[DaskServers]:
    with running_dask(OF_WORKERS, **options) as servers:
        for number in range(workers):
            servers.add_worker(f"w{number}")
        yield servers


def test_a_cluster_over_tls_and_threads_store_the_same_bytes_and_tell_the_same(tmp_path: Path) -> None:
    observed: dict[str, tuple[Any, ...]] = {}
    with AlpacaLoopback(bars_of(SYMBOLS, DAYS), page_size=40) as alpaca, cluster(2, tls=True) as servers:
        with servers.client(2):
            pass
        for executor in ("threads", "dask"):
            root = tmp_path / executor
            root.mkdir()
            scheduler = f"--scheduler={servers.address}" if executor == "dask" else "--workers=2"
            (root / "marketpipe.yaml").write_text(
                f"provider: alpaca\nsymbols: [{', '.join(SYMBOLS)}]\nstart: {DAYS[0]}\nend: {DAYS[1]}\nworkers: 2\n"
                f"timeframes: [5m, 1d]\nmetrics: {{textfile: metrics.prom, store: one}}\n"
                f"alpaca: {{base_url: '{alpaca.url}', rate_limit_per_min: 100000}}\n"
            )
            words = ("ingest", "--config", "marketpipe.yaml", "--executor", executor, scheduler, "--json")
            ended = fresh_marketpipe(*words, cwd=root, env={**OF_WORKERS, **servers.environment})
            assert ended.returncode == 0, ended.stderr + servers.log()
            report = result_of(ended)
            told = (root / "metrics.prom").read_text().splitlines()
            metrics = {line for line in told if "_total{" in line and "seconds" not in line}
            observed[executor] = report["bars"], report["requests"], report["state"], metrics

        with (
            opened(config(tmp_path, alpaca.url, scheduler=servers.address)) as pipeline,
            pytest.raises(ConfigurationError, match=r"cannot be used: .* docs/how-to/dask.md"),
        ):
            pipeline.ingest()  # without certificates

    assert observed["dask"] == observed["threads"]
    assert observed["dask"][0] == sum(map(len, bars_of(SYMBOLS, DAYS).values()))
    for executor in observed:
        (tmp_path / executor / "metrics.prom").unlink()  # it tells of seconds
    assert contents(tmp_path / "dask") == contents(tmp_path / "threads")


def test_workers_that_cannot_be_used_are_named_and_nothing_is_asked(tmp_path: Path) -> None:
    with AlpacaLoopback(bars_of(SYMBOLS, DAYS)) as alpaca, cluster(0) as servers:
        settings = config(tmp_path, alpaca.url, scheduler=servers.address)
        servers.add_worker("poor", env=dict.fromkeys(OF_WORKERS, ""))
        with servers.client(1):
            pass
        with (
            opened(settings) as pipeline,
            pytest.raises(ConfigurationError, match=r"Dask's worker poor at tcp://.*: no credentials for Alpaca"),
        ):
            pipeline.ingest()
        servers.remove_worker("poor")
        servers.add_worker("wide", threads=2)
        wait_until(lambda: "wide" in servers.names())
        with opened(settings) as pipeline, pytest.raises(ConfigurationError, match=r"worker wide .* --nthreads 1"):
            pipeline.ingest()

    assert not alpaca.requests


def test_a_client_that_exists_is_used_and_left_open_and_no_secret_reaches_the_scheduler(tmp_path: Path) -> None:
    with (
        AlpacaLoopback(bars_of(SYMBOLS, DAYS), page_size=40) as alpaca,
        cluster(2) as servers,
        servers.client(2) as client,
    ):
        settings = config(tmp_path, alpaca.url, executor="threads")
        with opened(settings, new_executor=client.get_executor) as pipeline:
            report = pipeline.ingest()
            kept = client.run_on_scheduler(_all_that_a_scheduler_keeps)
        assert client.submit(os.getpid).result() != os.getpid()
        logs = repr(client.get_worker_logs()) + servers.log()

    assert report.ok
    assert report.bars == sum(map(len, bars_of(SYMBOLS, DAYS).values()))
    assert b"marketpipe-batch-" in kept
    assert b"dask_worker" in kept
    for secret in OF_WORKERS.values():
        assert secret.encode() not in kept
        assert secret not in logs


def _all_that_a_scheduler_keeps(dask_scheduler: Any) -> bytes:
    events = [list(topic.events) for topic in dask_scheduler._broker._topics.values()]
    tasks = [(str(key), repr(task.run_spec)) for key, task in dask_scheduler.tasks.items()]
    transitions = [str(each) for each in dask_scheduler.transition_log]
    kept = (dask_scheduler.worker_plugins, tasks, transitions, str(events))
    return b"\n".join((pickle.dumps(dask_scheduler.worker_plugins), *(str(each).encode() for each in kept)))


@contextmanager
def half_a_year(symbols: list[str]) -> Iterator[AlpacaLoopback]:
    """Serve one batch for each symbol, of four pages."""
    with AlpacaLoopback(bars_of(symbols, HALF_A_YEAR, a_day=2), page_size=len(HALF_A_YEAR) * 2 // 4 + 1) as alpaca:
        yield alpaca


def test_a_killed_worker_costs_at_most_one_batch_and_what_it_had_asked_is_counted(tmp_path: Path) -> None:
    jobs, lost = list[JobStarted](), list[AttemptLost]()
    registry, killed = CollectorRegistry(), list[int]()
    with half_a_year(SEVEN) as alpaca, cluster(2) as servers, servers.client(2):

        def kill_one(number: int, _: Mapping[str, str]) -> Response | None:
            if number in (6, 16):
                servers.kill_worker("w0")
                killed.append(number)
            return None

        alpaca.fault = kill_one
        settings = config(tmp_path, alpaca.url, scheduler=servers.address, **ONE_BATCH_EACH)
        with opened(settings, registry) as pipeline:
            pipeline.subscribe(AttemptLost, lost.append)
            pipeline.subscribe(JobStarted, jobs.append)
            report = pipeline.ingest()
        sent, official = len(alpaca.requests), len(alpaca.official)

    assert jobs[0].batches == len(SEVEN)
    assert report.ok, report.failures
    assert report.bars == 2 * len(HALF_A_YEAR) * len(SEVEN)
    assert 1 <= len(lost) <= len(killed) == 2
    assert count(registry, "marketpipe_attempts_lost_total") == len(lost)
    assert count(registry, "marketpipe_requests_total") == report.requests
    assert 4 * len(SEVEN) <= sent <= 4 * (len(SEVEN) + len(killed))
    assert 0 <= sent + official - report.requests <= 2 * len(killed)  # what was on its way: a page, and the next one


def test_a_batch_that_kills_its_worker_again_and_again_fails_alone(tmp_path: Path) -> None:
    with half_a_year(SEVEN) as alpaca, cluster(1, allowed_failures=1) as servers, servers.client(1):

        def kill(_: int, query: Mapping[str, str]) -> Response | None:
            if "KILLER" in query["symbols"]:
                servers.kill_worker("w0")
            return None

        alpaca.fault = kill
        settings = config(tmp_path, alpaca.url, scheduler=servers.address, **ONE_BATCH_EACH)
        with opened(settings) as pipeline:
            report = pipeline.ingest()

    assert {str(day.symbol) for day in report.failures} == {"KILLER"}
    assert all("6 workers of Dask were killed" in why for why in report.failures.values())
    assert report.bars == 2 * len(HALF_A_YEAR) * (len(SEVEN) - 1)


def test_a_scheduler_that_is_killed_interrupts_the_run_within_35_seconds(tmp_path: Path) -> None:
    died = list[float]()
    with half_a_year(SEVEN) as alpaca, cluster(2) as servers:

        def die(number: int, _: Mapping[str, str]) -> Response | None:
            time.sleep(0.1)
            if number == 11:
                os.killpg(servers.scheduler.pid, signal.SIGKILL)
                died.append(time.monotonic())
            return None

        with servers.client(2):
            pass
        alpaca.fault = die
        settings = config(tmp_path, alpaca.url, scheduler=servers.address, **ONE_BATCH_EACH)
        with opened(settings) as pipeline:
            with pytest.raises(EngineFailedError, match="is gone"):
                pipeline.ingest()
            took = time.monotonic() - died[0]
        alpaca.fault, asked = None, len(alpaca.requests)
        with opened(evolve(settings, executor="threads", scheduler=None)) as pipeline:
            report = pipeline.ingest()
        again = len(alpaca.requests) - asked

    assert took < 35
    assert report.ok
    assert report.planned + report.already_settled == len(HALF_A_YEAR) * len(SEVEN)
    assert report.already_settled
    assert asked + again <= 4 * (len(SEVEN) + 2)  # two batches were in flight


def test_a_stop_signal_ends_a_cluster_of_this_machine_after_the_days_in_progress(tmp_path: Path) -> None:
    days = [f"2024-03-{day:02d}" for day in (4, 5, 6, 7, 8, 11, 12, 13)]

    def slowly(_: int, __: Mapping[str, str]) -> Response | None:
        time.sleep(0.4)
        return None

    with AlpacaLoopback(bars_of(["AAPL"], days), page_size=15, fault=slowly) as alpaca:
        process = start_local(tmp_path, alpaca.url, days[-1])
        wait_until(lambda: any((tmp_path / "data").rglob("*.parquet")))
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: its workers get it too
        _, errors = process.communicate(timeout=120)
        asked = len(alpaca.requests)
        files = len(list((tmp_path / "data").rglob("*.parquet")))
        with opened(config(tmp_path, alpaca.url, symbols=["AAPL"], end=days[-1])) as pipeline:
            plan = pipeline.plan()

    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert asked < 2 * len(days) - 2
    assert plan.already_settled == files, errors


def test_workers_are_seen_whatever_the_client_renews_meanwhile() -> None:
    renewed_often = dask.config.set({"distributed.client.scheduler-info-interval": "1ms"})
    with renewed_often, cluster(1) as servers, servers.client(1) as client:
        connection = DaskCluster(client, client.get_executor())
        seen = {connection.has_workers() for _ in range(500)}
        servers.remove_worker("w0")
        wait_until(lambda: not connection.has_workers())

    assert seen == {True}


def test_nothing_is_left_of_a_cluster_whose_run_is_killed(tmp_path: Path) -> None:
    with AlpacaLoopback(bars_of(["AAPL"], DAYS), fault=lambda *_: time.sleep(5)) as alpaca:
        process = start_local(tmp_path, alpaca.url, DAYS[-1])
        wait_until(lambda: alpaca.requests)
        workers = session_of(process.pid)
        process.kill()
        process.communicate()
        wait_until(lambda: not session_of(process.pid), 30)

    assert len(workers) >= 2  # the run and its worker


def start_local(root: Path, url: str, last: str) -> Popen[str]:
    (root / "c.yaml").write_text(
        f"provider: alpaca\nsymbols: [AAPL]\nstart: {DAYS[0]}\nend: {last}\ntimeframes: []\nworkers: 1\n"
        f"alpaca: {{base_url: '{url}', rate_limit_per_min: 100000}}\n"
    )
    return start_fresh_marketpipe("ingest", "--config", "c.yaml", "--executor", "dask", cwd=root, env=OF_WORKERS)


def session_of(leader: int) -> list[str]:
    listed = run(["ps", "-ww", "-o", "pid=,stat=", "--sid", str(leader)]).stdout
    return [line for line in listed.splitlines() if " Z" not in line]
