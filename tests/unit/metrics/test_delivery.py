from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge

from marketpipe import MetricsDeliveryError
from marketpipe.metrics.delivery import push, write_textfile


def _registry(value: float) -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("marketpipe_x", "A value.", registry=registry).set(value)
    return registry


def test_a_textfile_is_replaced_as_a_whole_and_leaves_no_other_file(tmp_path: Path) -> None:
    place = tmp_path / "mp.prom"
    write_textfile(place, _registry(1))
    with place.open() as open_before:
        write_textfile(place, _registry(2))

        assert "marketpipe_x 1.0" in open_before.read()
    assert "marketpipe_x 2.0" in place.read_text("utf-8")
    assert list(tmp_path.iterdir()) == [place]


def test_what_a_killed_writer_has_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    left, others = (
        tmp_path / "mp.prom.12.345",
        [tmp_path / name for name in ("mp.prom.12.346", "mp.prom.1.old", "a.prom.1.2")],
    )
    for each in (left, *others):
        each.touch()
    for each in (left, *others[1:]):
        os.utime(each, (0, 0))
    write_textfile(tmp_path / "mp.prom", _registry(1))

    assert {*tmp_path.iterdir()} == {tmp_path / "mp.prom", *others}


def test_a_folder_in_the_place_of_the_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "mp.prom").mkdir()
    with pytest.raises(MetricsDeliveryError, match=r"mp\.prom cannot be written \(Is a directory\); make its folder"):
        write_textfile(tmp_path / "mp.prom", _registry(1))
    assert [path.name for path in tmp_path.iterdir()] == ["mp.prom"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no-such-host.invalid:9091", "nonsense://x"])
def test_a_pushgateway_that_is_not_reached_is_an_error_that_names_it(url: str) -> None:
    with pytest.raises(MetricsDeliveryError, match="did not take the metrics"):
        push(url, "us", _registry(1))


def test_a_pushgateway_that_answers_byte_by_byte_is_given_up_in_time() -> None:
    given_up = threading.Event()

    def answer_slowly(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not given_up.wait(0.05):
                connection.sendall(b"X-Another: header\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=answer_slowly, args=(listening,))
        server.start()
        began = time.monotonic()
        with pytest.raises(MetricsDeliveryError, match=r"\(it did not answer within 0\.2 s\)"):
            push(f"http://127.0.0.1:{listening.getsockname()[1]}", "us", _registry(1), 0.2)
        took = time.monotonic() - began
        given_up.set()
        server.join()
    assert took < 5
