"""What is sent to a worker of Dask, and which workers are refused."""

from __future__ import annotations

import os
import pickle
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve

from marketpipe import place_parts
from marketpipe.config import PipelineConfig
from marketpipe.dask_worker import RingPlugin, StorePlaces, carry_out, portable, sign_of
from marketpipe.parts import Parts
from marketpipe.shared_kernel.domain.errors import ConfigurationError, EngineFailedError, IngestionInterrupted
from marketpipe.shared_kernel.events import BarsExhausted
from marketpipe.testing import bars_request
from tests.support.child_processes import run
from tests.support.loopback_s3 import loopback_bucket

REQUEST = bars_request(["AAPL"], "2024-03-04", "2024-03-04")
VERSION = version("marketpipe")


def config(root: Path, **changes: Any) -> PipelineConfig:
    values = {"provider": "synthetic", "symbols": ["AAPL"], "start": "2024-03-04", "end": "2024-03-04"}
    return PipelineConfig(**{**values, "root": root, "executor": "dask", "timeframes": [], **changes})


def a_worker(threads: int = 1, address: str = "tls://127.0.0.1:4711") -> Any:
    told = list[dict[str, Any]]()
    state = SimpleNamespace(nthreads=threads)
    return SimpleNamespace(
        name="two",
        address=address,
        state=state,
        told=told,
        log_event=lambda _, said: told.append(said),
        periodic_callbacks={},
    )


def plugin(settings: PipelineConfig, **changes: Any) -> RingPlugin:
    place_parts.state(Parts(settings))
    return evolve(RingPlugin("run", settings, sign_of(1), StorePlaces.of(settings), VERSION), **changes)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Parts]:
    """The run goes on: it holds the lock that workers look at."""
    parts = Parts(config(tmp_path))
    with place_parts.store_lock(parts, sign_of(1), waits=False).acquired():
        yield parts


def test_a_worker_with_two_threads_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"worker two at tls://127.0.0.1:4711 .* --nthreads 1"):
        plugin(config(tmp_path)).setup(a_worker(threads=2))


def test_a_worker_in_the_process_of_the_client_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="processes=True"):
        plugin(config(tmp_path)).setup(a_worker(address="inproc://10.0.0.1/1/2"))


def test_a_worker_with_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"it has MarketPipe {VERSION}, and the run 99.0"):
        plugin(config(tmp_path), version="99.0").setup(a_worker())


@pytest.mark.parametrize("name", ["output_path", "state_path"])
def test_a_worker_that_sees_another_store_at_the_same_path_is_refused(tmp_path: Path, name: str) -> None:
    settings = config(tmp_path)
    made = plugin(settings)
    place = getattr(settings, name)
    place.rename(place.with_name("moved"))
    with pytest.raises(ConfigurationError, match=f"does not see this store: {place} is not there"):
        made.setup(a_worker())
    place.mkdir()
    with pytest.raises(ConfigurationError, match="or is another one"):
        made.setup(a_worker())


def test_a_worker_without_keys_is_refused_by_its_name(tmp_path: Path) -> None:
    assert not {"ALPACA_KEY", "APCA_API_KEY_ID"} & set(os.environ)
    with pytest.raises(ConfigurationError, match=r"worker two .*: no credentials for Alpaca"):
        plugin(config(tmp_path, provider="alpaca")).setup(a_worker())


BEFORE_A_BUCKET = """
import sys
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from pathlib import Path
from tests.unit.test_dask_worker import a_worker, config, plugin
try:
    plugin(config(Path(sys.argv[1]), output_path="s3://bars/store", state_path="s.sqlite")).setup(a_worker())
except ConfigurationError as error:
    print(error)
"""


def test_a_worker_that_may_not_see_the_bucket_is_refused_by_its_name(tmp_path: Path) -> None:
    """The variables of the bucket are those of a process."""
    with loopback_bucket() as bucket:
        bucket.refuses_to_list = True
        command = [sys.executable, "-c", BEFORE_A_BUCKET, str(tmp_path)]
        told = run(command, env={**os.environ, **bucket.environment}, check=True)

    assert re.search(r"Dask's worker .* cannot be used: cannot list s3://bars/store/probes/: error 403", told.stdout)


def test_a_task_on_a_worker_that_was_refused_ends_the_run_with_the_reason(tmp_path: Path) -> None:
    refused = plugin(config(tmp_path))
    with pytest.raises(ConfigurationError):
        refused.setup(a_worker(threads=2))
    error = carry_out("run", "batch", REQUEST).report.error

    assert isinstance(error, EngineFailedError)
    assert "worker two at tls://127.0.0.1:4711" in str(error)
    refused.teardown(a_worker())


def test_a_worker_tells_of_its_attempt_and_reports_what_it_did(held: Parts) -> None:
    worker, ready = a_worker(), plugin(held.pipeline_config)
    ready.setup(worker)
    with ThreadPoolExecutor(1) as task:
        made = task.submit(carry_out, "run", "batch-1", REQUEST).result()
    ready.teardown(worker)

    assert worker.told[0] == {"batch": "batch-1", "attempt": made.attempt}
    assert made.report.error is None or "lease" in str(made.report.error)  # this run has taken none


def test_a_worker_whose_run_was_stopped_begins_nothing(tmp_path: Path) -> None:
    worker, ready = a_worker(), plugin(config(tmp_path))
    ready.setup(worker)  # nobody holds the lock
    made = carry_out("run", "batch-1", REQUEST)
    ready.teardown(worker)

    assert isinstance(made.report.error, IngestionInterrupted)
    assert not any(isinstance(event, BarsExhausted) for event in made.report.events)


def test_what_is_sent_has_no_secret_and_no_path_of_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ALPACA_KEY=key-4711-4711\nALPACA_SECRET=secret-0815-0815\n")
    (tmp_path / ".env").chmod(0o600)
    settings = portable(config(Path(), provider="alpaca", output_path="bars"))
    sent = pickle.dumps(RingPlugin("run", settings, sign_of(1), StorePlaces({}), VERSION))

    assert settings.output_path == Path.cwd() / "bars"
    assert settings.state_path.is_absolute()
    assert settings.copies_path == Path.cwd() / "bars_copies"
    assert b"4711" not in sent
    assert b"0815" not in sent
    assert pickle.loads(sent).config == settings


def test_places_on_servers_are_not_looked_for_on_the_disk(tmp_path: Path) -> None:
    assert dict(StorePlaces.of(evolved(tmp_path)).files) == {}


def evolved(root: Path) -> Any:
    return SimpleNamespace(state_path=Path("/postgresql:/me@host/db"), output_path=Path("/s3:/bucket/bars"))


def test_the_profiler_with_which_python_3_11_may_hang_is_stopped(tmp_path: Path) -> None:
    stopped, worker, ready = list[str](), a_worker(), plugin(config(tmp_path))
    for name in ("profile", "profile-cycle", "heartbeat"):
        worker.periodic_callbacks[name] = SimpleNamespace(stop=partial(stopped.append, name))
    ready.setup(worker)
    ready.teardown(worker)

    assert stopped == (["profile", "profile-cycle"] if sys.version_info[:2] == (3, 11) else [])
    assert "heartbeat" in worker.periodic_callbacks
