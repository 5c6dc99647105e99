"""The service and the job of the documentation as processes: SIGTERM ends them cleanly, and the next run continues."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from marketpipe import Pipeline, PipelineConfig
from tests.support.child_processes import start, wait_until
from tests.support.cli_process import environment
from tests.support.documented_pages import block_for
from tests.support.examples import some

EXAMPLES = {name: block_for("tests/e2e/test_services_that_are_stopped.py", name) for name in ("service", "job")}
SETTINGS = """
provider: synthetic
symbols: [AAPL, MSFT]
start: 2024-11-04
end: latest
workers: 1
timeframes: []
"""


@pytest.mark.parametrize("name", some(["service", "job"]))
def test_sigterm_ends_it_soon_and_the_next_run_continues(tmp_path: Path, name: str) -> None:
    (tmp_path / "service.yaml").write_text(SETTINGS)
    process = start([sys.executable, "-c", EXAMPLES[name]], cwd=tmp_path, env=environment())
    wait_until(lambda: any(tmp_path.glob("data/symbol=*/**/*.parquet")) or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    printed, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert "interrupted" in printed if name == "job" else printed == ""

    stored = len(list(tmp_path.glob("data/symbol=*/**/*.parquet")))
    settings = PipelineConfig(
        provider="synthetic",
        symbols=["AAPL"],
        start="2024-11-04",
        end="2024-11-08",
        output_path=tmp_path / "data",
    )
    with Pipeline(settings) as pipeline:
        started = time.monotonic()
        status = pipeline.status()
        report = pipeline.ingest()
        assert time.monotonic() - started < 30, "no lease was left that it had to wait for"
    assert status.jobs[0].state == "interrupted"
    assert sum(summary.complete for summary in status.symbols) == stored > 0
    assert report.ok
