"""Which schedulers are refused, and which clients are taken. What needs a cluster is in tests/servers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from marketpipe.config import PipelineConfig
from marketpipe.dask_cluster import DaskCluster, OpenedClient, check_security, cluster_of
from marketpipe.shared_kernel.domain.errors import ConfigurationError

OPEN = "tcp://10.0.0.5:8786"
VARIABLE = "MARKETPIPE_INSECURE_SCHEDULER"


def config(**changes: Any) -> PipelineConfig:
    dates = {"start": "2024-03-04", "end": "2024-03-04"}
    return PipelineConfig(provider="synthetic", symbols=["AAPL"], executor="dask", **dates, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "address",
    [
        "tls://10.0.0.5:8786",
        "tcp://127.0.0.1:8786",
        "tcp://localhost:8786",
        "tcp://[::1]:8786",
        "inproc://10.0.0.5/1/2",
    ],
)
def test_an_encrypted_scheduler_and_one_of_this_machine_are_taken(address: str) -> None:
    check_security(address, config(), {})


@pytest.mark.parametrize(
    ("key", "variable"),
    [(False, ""), (False, OPEN), (True, ""), (True, "1"), (True, "true"), (True, "tcp://10.0.0.6:8786")],
)
def test_an_open_scheduler_is_refused_unless_it_is_said_twice(key: bool, variable: str) -> None:
    with pytest.raises(ConfigurationError, match=r"whoever reaches its port can run code .* insecure_scheduler: true"):
        check_security(OPEN, config(insecure_scheduler=key), {VARIABLE: variable})


def test_an_open_scheduler_is_taken_if_both_name_it() -> None:
    check_security(OPEN, config(insecure_scheduler=True), {VARIABLE: OPEN})


def test_an_executor_that_is_not_of_dask_is_refused() -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(ConfigurationError, match=r"pass client\.get_executor"):
        cluster_of(threads, config(), {})


def test_a_client_that_cannot_be_opened_is_closed_at_once() -> None:
    """Not when it is collected: that may be while another one is opened on the same thread."""
    before = {*threading.enumerate()}
    with pytest.raises((TypeError, RuntimeError)) as error:  # there are no certificates
        OpenedClient("tls://127.0.0.1:1", timeout=1, set_as_default=False)
    assert error.value.__traceback__ is not None  # and with it the client, which its frames have
    assert not any(thread.name == "IO loop" for thread in {*threading.enumerate()} - before)


class SilentClient:
    """Its scheduler does not answer."""

    def __init__(self, status: str, error: Exception) -> None:
        self.status, self.error = status, error

    def nthreads(self, **_: object) -> dict[str, int]:
        raise self.error


@pytest.mark.parametrize(("status", "has_workers"), [("connecting", True), ("closing", False), ("closed", False)])
@pytest.mark.parametrize("error", [OSError(), TimeoutError(), AttributeError(), RuntimeError()], ids=repr)
def test_workers_are_given_up_only_if_their_scheduler_is_gone(status: str, error: Exception, has_workers: bool) -> None:
    with ThreadPoolExecutor(1) as threads:
        assert DaskCluster(SilentClient(status, error), threads).has_workers() is has_workers
