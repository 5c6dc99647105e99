from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from marketpipe.testing import Response
from tests.support.alpaca_loopback import AlpacaLoopback, record
from tests.support.child_processes import wait_until
from tests.support.cli_process import marketpipe, result_of, start_marketpipe

SYMBOLS = [f"S{i:02d}" for i in range(6)]
DAYS = ["2024-03-04", "2024-03-05", "2024-03-06", "2024-03-07", "2024-03-08"]
BARS = {
    symbol: [
        record(f"{day}T{hour}:{minute:02d}:00Z", 50 + i) for day in DAYS for hour in (15, 16) for minute in range(60)
    ]
    for i, symbol in enumerate(SYMBOLS)
}
COUNT = sum(map(len, BARS.values()))


def _slow(_: int, __: object) -> Response | None:
    time.sleep(0.03)
    return None


def _config(folder: Path, url: str) -> str:
    folder.mkdir(exist_ok=True)
    file = folder / "config.yaml"
    file.write_text(
        f"provider: alpaca\nsymbols: [{', '.join(SYMBOLS)}]\nstart: 2024-03-04\nend: 2024-03-08\nworkers: 2\n"
        f'timeframes: [5m, 1d]\nalpaca: {{feed: iex, base_url: "{url}", rate_limit_per_min: 100000}}\n'
    )
    return str(file)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}


def _wait_for_files(folder: Path, count: int) -> None:
    wait_until(lambda: sum(1 for _ in (folder / "data").rglob("*.parquet")) >= count)


def test_a_killed_ingestion_resumes_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    with AlpacaLoopback(BARS, page_size=100, fault=_slow) as provider:
        whole = marketpipe("ingest", "--config", _config(tmp_path / "whole", provider.url), cwd=tmp_path / "whole")
        assert whole.returncode == 0, whole.stderr

        folder = tmp_path / "killed"
        config = _config(folder, provider.url)
        for wanted in (4, 12, 20):
            process = start_marketpipe("ingest", "--config", config, cwd=folder)
            _wait_for_files(folder, wanted)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert process.returncode == -signal.SIGKILL
        known = result_of(marketpipe("status", "--config", config, "--json", cwd=folder))["symbols"]
        checkpointed = sum(symbol["complete"] for symbol in known)
        stored = len(_files(folder / "data"))  # a kill between a file and its checkpoint leaves more files

        resumed = result_of(marketpipe("ingest", "--config", config, "--json", cwd=folder))

    assert 0 < checkpointed <= stored < len(SYMBOLS) * len(DAYS)
    assert resumed["already_settled"] == stored
    assert resumed["planned"] == len(SYMBOLS) * len(DAYS) - stored
    assert _files(folder) == _files(tmp_path / "whole")
    assert not list(folder.rglob("*.tmp"))
    assert result_of(marketpipe("validate", "--config", config, "--json", cwd=folder))["bars"] == COUNT


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_ingestion_ends_cleanly_and_reports_how_to_resume(
    tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    with AlpacaLoopback(BARS, page_size=100, fault=_slow) as provider:
        config = _config(tmp_path, provider.url)
        process = start_marketpipe("ingest", "--config", config, cwd=tmp_path)
        _wait_for_files(tmp_path, 4)
        process.send_signal(sent)
        _, errors = process.communicate(timeout=60)

        status = result_of(marketpipe("status", "--config", config, "--json", cwd=tmp_path))
        resumed = marketpipe("ingest", "--config", config, "--json", cwd=tmp_path)

    assert process.returncode == code
    assert "run the same command again" in errors
    assert "Traceback" not in errors
    assert status["jobs"][0]["state"] == "interrupted"
    assert resumed.returncode == 0
    files = len(_files(tmp_path / "data"))
    assert files == len(SYMBOLS) * len(DAYS)


def test_a_second_ctrl_c_does_not_wait_for_a_request_that_hangs(tmp_path: Path) -> None:
    asked, let_go = threading.Event(), threading.Event()

    def hang(_: int, __: object) -> Response | None:
        asked.set()
        let_go.wait(60)
        return None

    with AlpacaLoopback(BARS, fault=hang) as provider:
        process = start_marketpipe("ingest", "--config", _config(tmp_path, provider.url), cwd=tmp_path)
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        printed = iter(process.stderr.readline, "")
        assert any("interrupt again to exit at once" in line for line in printed)
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=60)
        let_go.set()
    _, errors = process.communicate()

    assert code == 130
    assert "Traceback" not in errors
