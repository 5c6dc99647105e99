"""A real Prometheus server on a free port, with the rules of this repository."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

from tests.support.child_processes import start, wait_until

Labels = tuple[tuple[str, str], ...]
"""Names and values in alphabetical order, without those of Prometheus."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@frozen
class PrometheusServer:
    url: str

    def query(self, expression: str, at: float | None = None) -> dict[Labels, float]:
        """Return the values of an instant query by their labels. Raises ``AssertionError`` if it has an error."""
        asked = {"query": expression, **({} if at is None else {"time": str(at)})}
        result = self._get("query", asked)
        if result["resultType"] == "scalar":
            return {(): float(result["result"][1])}
        return {labels_of(each["metric"]): float(each["value"][1]) for each in result["result"]}

    def label_values(self, selector: str, label: str) -> set[str]:
        """Return the values of a label of all series that were ever scraped, as Grafana reads those of a variable."""
        return {*self._get(f"label/{label}/values", {"match[]": selector})}

    def rules(self) -> list[Mapping[str, Any]]:
        """Return all rules as the server has evaluated them."""
        return [rule for group in self._get("rules", {})["groups"] for rule in group["rules"]]

    def _get(self, what: str, parameters: Mapping[str, str]) -> Any:
        address = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=60) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error


def labels_of(metric: Mapping[str, str]) -> Labels:
    return tuple(sorted((name, value) for name, value in metric.items() if name not in ("__name__", "instance", "job")))


@contextmanager
def prometheus(folder: Path, ports: Mapping[str, int], rules: Sequence[Path]) -> Iterator[PrometheusServer]:
    """Run a server that scrapes a port for each job, and evaluates the rules, every second."""
    jobs = [{"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{ports[job]}"]}]} for job in ports]
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": jobs,
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}",
        "--scrape.discovery-reload-interval=50ms",  # without it, five seconds pass before the first scrape
        "--log.level=warn",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = start(command, outlives_test=True, stdout=log, stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or _is_ready(address), 60)
        assert process.poll() is None, (folder / "prometheus.log").read_text()
        yield PrometheusServer(f"http://{address}")
    finally:
        process.kill()
        process.wait()


def _is_ready(address: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://{address}/-/ready", timeout=10) as response:
        return bool(response.status == 200)
    time.sleep(0.02)
    return False
