"""Ctrl-C while the command line is still importing modules: one line and exit code 130, and never a traceback."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.child_processes import LONGEST_SECONDS, start

HANGS = "import time; print('importing', flush=True); [time.sleep(0.1) for _ in range(6000)]"
"""Not in one piece: Python does not wake up for a signal that has come just before it falls asleep."""
SWALLOWS = f"""
try:
    {HANGS}
except BaseException:
    pass
"""
CONSOLE_SCRIPT = "from marketpipe.__main__ import main; main()"


@pytest.mark.parametrize(
    "command",
    [["-m", "marketpipe"], ["-m", "marketpipe.cli"], ["-m", "marketpipe.ingestion"], ["-c", CONSOLE_SCRIPT]],
    ids=["module", "cli", "ingestion", "console script"],
)
@pytest.mark.parametrize("module", [HANGS, SWALLOWS], ids=["hangs", "swallows"])
def test_an_import_that_is_interrupted_ends_with_one_line(tmp_path: Path, command: list[str], module: str) -> None:
    (tmp_path / "typer.py").write_text(module)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with start([sys.executable, *command, "--version"], env={**os.environ, "PYTHONPATH": path}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=LONGEST_SECONDS)

    assert (errors, process.returncode) == ("interrupted\n", 130)


def test_the_package_itself_imports_nothing_before_a_name_is_used() -> None:
    code = "import sys, __future__; known = set(sys.modules); import marketpipe; print(*set(sys.modules) - known)"
    with start([sys.executable, "-c", code]) as process:
        out, _ = process.communicate(timeout=LONGEST_SECONDS)

    assert out == "marketpipe\n"


def test_the_names_of_the_package_are_listed_as_before() -> None:
    code = (
        "import marketpipe; names = dir(marketpipe); assert 'Pipeline' in names; from marketpipe import Symbol, __all__"
    )
    with start([sys.executable, "-c", code]) as process:
        _, errors = process.communicate(timeout=LONGEST_SECONDS)

    assert (errors, process.returncode) == ("", 0)
