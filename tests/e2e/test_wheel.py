from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.cli_process import environment

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_carries_the_schema_and_the_type_marker_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert "marketpipe/schema_v1.json" in names
    assert "marketpipe/py.typed" in names
    assert not [name for name in names if name.startswith(("tests", "config", "docs"))]


def test_what_is_in_the_wheel_ingests_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    zipfile.ZipFile(wheel).extractall(installed)
    elsewhere.mkdir()
    script = (
        f"import sys; sys.path.insert(0, {str(installed)!r}); import marketpipe; "
        f"assert marketpipe.__file__.startswith({str(installed)!r}), marketpipe.__file__; "
        "from marketpipe.cli import main; main()"
    )
    words = ("--provider", "synthetic", "--symbols", "AAPL", "--start", "2024-01-02", "--end", "2024-01-02")
    done = subprocess.run(
        [sys.executable, "-c", script, "ingest", *words, "--json"],
        cwd=elsewhere,
        env=environment({"PYTHONPATH": os.pathsep.join(path for path in sys.path if "site-packages" in path)}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["complete"] == 1
