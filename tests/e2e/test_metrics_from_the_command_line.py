"""``marketpipe metrics``: served until a signal, written for node_exporter, and what contradicts itself."""

from __future__ import annotations

import json
import re
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.child_processes import LONGEST_SECONDS
from tests.support.cli_process import marketpipe, start_marketpipe

CONFIG = """
provider: synthetic
symbols: [AAPL]
start: 2024-11-27
end: 2024-11-29
timeframes: []
metrics: {store: us, max_lag_sessions: 0}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that lacks its last session; what is done to it changes no bar."""
    return _stored(tmp_path_factory.mktemp("store"))


def _stored(folder: Path) -> Path:
    (folder / "marketpipe.yaml").write_text(CONFIG)
    (folder / "undelivered.yaml").write_text(CONFIG.replace("store: us", "store: us, textfile: no/mp.prom"))
    done = marketpipe("ingest", "--end", "2024-11-27", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_metrics_and_readiness_are_served_until_a_signal_and_see_what_other_processes_do(tmp_path: Path) -> None:
    store = _stored(tmp_path)
    server = start_marketpipe("metrics", "--serve", "--port", "0", cwd=store)
    assert server.stderr is not None
    found = re.search(r"(http://127\.0\.0\.1:\d+)/metrics", server.stderr.readline())
    assert found
    address = found[1]

    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(f"{address}/readyz", timeout=LONGEST_SECONDS)
    assert marketpipe("ingest", cwd=store).returncode == 0
    text = urllib.request.urlopen(f"{address}/metrics", timeout=LONGEST_SECONDS).read().decode()
    alive = json.load(urllib.request.urlopen(f"{address}/healthz", timeout=LONGEST_SECONDS))
    server.send_signal(signal.SIGTERM)

    assert refusal.value.code == 503
    assert json.load(refusal.value)["reasons"][0]["check"] == "fresh"
    assert 'marketpipe_jobs_total{job_kind="ingest",provider="synthetic",session="extended",state="completed"' in text
    assert re.search(r"marketpipe_partitions_written_total\{.*\} 2\.0", text)
    assert alive == {"status": "ok"}
    assert server.wait(LONGEST_SECONDS) == 143


def test_metrics_are_written_to_a_file_for_node_exporter(store: Path) -> None:
    done = marketpipe("metrics", "--textfile", "mp.prom", cwd=store)

    assert (done.returncode, done.stderr.strip()) == (0, f"metrics were written to {Path('mp.prom')}")
    assert "# HELP marketpipe_store_lag_sessions " in (store / "mp.prom").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--serve", "--textfile", "mp.prom"], "--serve goes on until Ctrl-C"),
        (["--port", "9000"], "--host and --port belong to --serve"),
        (["--json", "--serve"], "--json prints the metrics: leave out --serve"),
        (["--textfile", "mp.txt"], "expected a path that ends in .prom"),
        (["--push", "127.0.0.1:9091"], "expected a URL such as http://127.0.0.1:9091"),
    ],
)
def test_options_that_contradict_one_another_or_name_no_place_are_wrong_usage(
    tmp_path: Path, words: list[str], message: str
) -> None:
    done = marketpipe("metrics", *words, cwd=tmp_path)

    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())


def test_metrics_that_do_not_reach_their_place_are_an_error(store: Path) -> None:
    done = marketpipe("metrics", "--push", "http://127.0.0.1:1", cwd=store)

    assert done.returncode == 1
    assert "http://127.0.0.1:1 did not take the metrics" in done.stderr


@pytest.mark.parametrize("words", [["ingest", "--quiet", "--end", "2024-11-27"], ["verify"]])
def test_every_command_warns_of_metrics_that_did_not_reach_their_place(store: Path, words: list[str]) -> None:
    done = marketpipe(*words, "--config", "undelivered.yaml", cwd=store)

    assert done.returncode == 0
    assert done.stderr.startswith("warning: metrics.textfile: no/mp.prom cannot be written (No such file or directory)")
