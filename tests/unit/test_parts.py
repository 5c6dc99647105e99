"""What is made for a pipeline: each thing once, whatever the number of threads, and closed in reverse order."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from marketpipe import composition, place_parts
from marketpipe.config import PipelineConfig, StoreConfig
from marketpipe.parts import Parts, check_packages, check_platform, once, with_cluster
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from tests.support.threads_at_once import THREADS, at_once


class Thing:
    def __init__(self, name: str, closed: list[str]) -> None:
        self.name, self.closed = name, closed

    def close(self) -> None:
        self.closed.append(self.name)
        if self.name == "fails":
            raise OSError("cannot be closed")


@once
def thing(parts: Parts, name: str, closed: list[str]) -> Thing:
    return parts.closing(Thing(name, closed))


@pytest.fixture
def parts() -> Parts:
    return Parts(StoreConfig())


class Names(list[str]):
    """A list that may be part of a key."""

    __hash__ = object.__hash__  # type: ignore[assignment]


def test_a_thing_is_made_once_for_each_combination_of_arguments(parts: Parts) -> None:
    closed = Names()
    first, other = thing(parts, "first", closed), thing(parts, "other", closed)
    assert thing(parts, "first", closed) is first
    assert other is not first
    assert parts.has(thing, "first", closed)
    assert not parts.has(thing, "third", closed)


def test_threads_that_ask_at_once_get_the_same_thing(parts: Parts) -> None:
    made, got = list[int](), list[object]()

    @once
    def slow(_: Parts) -> object:
        made.append(1)
        threading.Event().wait(0.05)
        return object()

    at_once(lambda _: got.append(slow(parts)))

    assert (len(made), len(got), len(set(got))) == (1, THREADS, 1)


def test_the_latest_is_closed_first_and_one_that_fails_keeps_no_other_open(parts: Parts) -> None:
    closed = Names()
    for name in ("first", "fails", "last"):
        thing(parts, name, closed)
    with pytest.raises(OSError, match="cannot be closed"):
        parts.close()
    assert closed == ["last", "fails", "first"]


def test_closing_twice_closes_each_thing_once_and_stopping_before_anything_was_made_is_harmless(parts: Parts) -> None:
    closed = Names()
    parts.stop()
    thing(parts, "first", closed)
    parts.close()
    parts.close()
    assert closed == ["first"]


def test_the_threads_that_sync_files_are_shut_down_last(parts: Parts) -> None:
    seen = list[str]()

    class Syncs:
        def close(self) -> None:
            parts.syncing.submit(seen.append, "synced").result()

    parts.closing(Syncs())
    parts.close()

    assert seen == ["synced"]
    with pytest.raises(RuntimeError):
        parts.syncing.submit(seen.append, "too late")


def test_no_function_of_the_composition_makes_a_new_thing_by_accident() -> None:
    """One that makes a thing either says ``new_`` or is under ``@once``; the others only choose among things."""
    locks = {"update_lock", "store_lock", "aggregation_lock"}
    asked = {"holds_imported_bars", "known_identity", "latest_final", "capabilities"}
    choosing = {
        "areas",
        "copy_state",
        "finality",
        "forget_state",
        "has_opened_state",
        "has_records",
        "known_state",
        "laid_out_files",
        "now_ns",
        "probe_before_requests",
        "probe_bucket",
        "see_bucket",
        "state",
        "state_rows",
        "together",
        "try_bucket",
        *asked,
        *locks,
    }
    makers = {
        name: function
        for module in (composition, place_parts)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith(("new_", "subscribe_", "_"))
    }
    plain = {name for name, function in makers.items() if not hasattr(function, "__wrapped__")}
    assert plain == choosing


def test_what_only_looks_makes_no_state_file(tmp_path: Path) -> None:
    made = Parts(StoreConfig(state_path=tmp_path / "state" / "s.sqlite"))
    assert place_parts.known_state(made).dataset() is None
    assert list(tmp_path.iterdir()) == []
    made.close()


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("obstore", r"^output_path s3://bucket/bars needs the package obstore: pip install 'marketpipe\[s3\]'"),
        ("psycopg", r"^state_path postgresql://localhost/bars needs the package psycopg: .*'marketpipe\[postgres\]'"),
    ],
)
def test_a_place_whose_package_is_not_installed_is_refused(package: str, message: str) -> None:
    config = StoreConfig(output_path="s3://bucket/bars", state_path="postgresql://localhost/bars")
    check_packages(config)
    with pytest.raises(ConfigurationError, match=message):
        check_packages(config, lambda name: name != package)
    check_packages(StoreConfig(), lambda _: False)


@pytest.mark.parametrize("name", ["win32", "cygwin"])
def test_a_system_without_posix_files_is_refused_with_a_way_out(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"does not run on {name}.*WSL 2"):
        check_platform(name)


@pytest.mark.parametrize("name", ["linux", "darwin", "freebsd14"])
def test_a_system_with_posix_files_is_not(name: str) -> None:
    check_platform(name)


class OfDask:
    """Stands for a client of Dask, and for its executor: both are known by their package alone."""

    __module__ = "distributed.client"

    def get_executor(self, **_: object) -> Executor:
        return cast(Executor, self)


def config_of_pipeline(executor: str = "threads") -> PipelineConfig:
    dates = {"start": "2024-03-04", "end": "2024-03-04"}
    return PipelineConfig(provider="synthetic", symbols=["AAPL"], executor=executor, **dates)


@pytest.mark.parametrize("given", [OfDask().get_executor, partial(OfDask().get_executor, retries=1)])
def test_the_executor_of_a_dask_client_means_executor_dask(given: Callable[[], Executor]) -> None:
    assert with_cluster(config_of_pipeline(), given) == config_of_pipeline("dask")


@pytest.mark.parametrize("given", [None, ThreadPoolExecutor, partial(ThreadPoolExecutor, 2)])
def test_another_executor_leaves_the_configuration(given: Callable[[], Executor] | None) -> None:
    assert with_cluster(config_of_pipeline(), given) == config_of_pipeline()


def test_an_executor_of_dask_that_nobody_could_know_before_is_refused_with_what_to_write() -> None:
    parts = Parts(config_of_pipeline(), new_executor=lambda: OfDask().get_executor())
    with pytest.raises(ConfigurationError, match=r"Pass client\.get_executor itself, or configure executor: dask"):
        parts.executor_factory(2, "of-a-test")()
