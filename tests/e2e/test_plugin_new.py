"""A new provider package passes its own tests, as ``marketpipe plugin new`` writes it."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.child_processes import run
from tests.support.cli_process import environment, marketpipe
from tests.support.examples import thoroughly


@thoroughly
def test_a_new_package_passes_its_tests_and_is_not_written_twice(tmp_path: Path) -> None:
    made = marketpipe("plugin", "new", "acme", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "cd marketpipe-acme" in made.stdout

    package = tmp_path / "marketpipe-acme"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    tested = run(command, cwd=package, env=environment({"PYTHONDONTWRITEBYTECODE": "1"}))
    assert tested.returncode == 0, tested.stdout
    assert " passed" in tested.stdout
    assert "failed" not in tested.stdout

    again = marketpipe("plugin", "new", "acme", cwd=tmp_path)
    assert (again.returncode, "is not an empty folder" in again.stderr) == (2, True)


def test_a_name_that_no_provider_can_have_is_wrong_usage(tmp_path: Path) -> None:
    refused = marketpipe("plugin", "new", "alpaca", "--folder", "here", cwd=tmp_path)
    assert (refused.returncode, "exists already" in refused.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []
