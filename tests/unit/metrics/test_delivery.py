from __future__ import annotations

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


def test_a_folder_in_the_place_of_the_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "mp.prom").mkdir()
    with pytest.raises(MetricsDeliveryError, match=r"mp\.prom cannot be written \(Is a directory\); make its folder"):
        write_textfile(tmp_path / "mp.prom", _registry(1))
    assert [path.name for path in tmp_path.iterdir()] == ["mp.prom"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no-such-host.invalid:9091", "nonsense://x"])
def test_a_pushgateway_that_is_not_reached_is_an_error_that_names_it(url: str) -> None:
    with pytest.raises(MetricsDeliveryError, match="did not take the metrics"):
        push(url, "us", _registry(1))
