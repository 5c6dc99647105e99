"""The service and the timer of docs/how-to/systemd.md are accepted by systemd, and the service's command works."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from tests.support.child_processes import run
from tests.support.cli_process import environment, marketpipe
from tests.support.documented_pages import block_for
from tests.support.installed import needs

HERE = "tests/e2e/test_systemd_units.py"
SERVICE, TIMER, METRICS = (block_for(HERE, name) for name in ("service", "timer", "metrics"))
PROGRAM = "/srv/venv/bin/marketpipe"


@needs("systemd-analyze")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    installed = os.path.join(os.path.dirname(sys.executable), "marketpipe")
    (tmp_path / "marketpipe-update.service").write_text(SERVICE.replace(PROGRAM, installed))
    (tmp_path / "marketpipe-update.timer").write_text(TIMER)
    (tmp_path / "marketpipe-metrics.service").write_text(METRICS.replace(PROGRAM, installed))
    command = ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))]
    done = run(command, env=environment({"SYSTEMD_UNIT_PATH": f"{tmp_path}:"}))
    complaints = [line for line in done.stderr.splitlines() if "marketpipe-" in line]
    assert (done.returncode, complaints) == (0, [])


@needs("systemd-analyze")
def test_the_timer_elapses_after_the_session_in_new_york() -> None:
    (when,) = re.findall(r"^OnCalendar=(.*)$", TIMER, re.M)
    done = run(["systemd-analyze", "calendar", when, "--iterations", "3"])
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"(\d\d:\d\d):00 UTC", done.stdout)) <= {"01:30", "02:30"}


def test_the_command_of_the_metrics_service_has_its_options(tmp_path: Path) -> None:
    (command,) = re.findall(r"^ExecStart=(.*)$", METRICS, re.M)
    program, *words = command.split()
    assert (program, marketpipe(*words, "--help", cwd=tmp_path).returncode) == (PROGRAM, 0)
    assert marketpipe(*words, "--no-such-option", "--help", cwd=tmp_path).returncode == 2


def test_the_command_of_the_update_service_is_one_of_marketpipe(tmp_path: Path) -> None:
    (command,) = re.findall(r"^ExecStart=(.*)$", SERVICE, re.M)
    program, *words = command.split()
    assert program == PROGRAM
    done = marketpipe(*(word.replace("/srv/bars", str(tmp_path)) for word in words), cwd=tmp_path)
    assert done.returncode == 2, "there is no configuration, and that is all that is wrong"
    assert "marketpipe.yaml" in done.stderr
