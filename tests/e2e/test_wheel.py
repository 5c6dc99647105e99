from __future__ import annotations

import json
import os
import re
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support.child_processes import run
from tests.support.cli_process import environment

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    run(command, check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_carries_the_files_beside_the_code_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert "marketpipe/schema_v1.json" in names
    assert "marketpipe/shared_kernel/infrastructure/sessions-XNYS.txt" in names
    assert "marketpipe/py.typed" in names
    assert "marketpipe/plugin_skeleton/client.py.txt" in names
    assert not [name for name in names if name.startswith(("tests", "config", "docs"))]


def test_the_version_is_the_same_wherever_it_is_stated(wheel: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    newest = re.search(r"^## \[(\d[^]]*)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert wheel.name.startswith(f"marketpipe-{version}-")
    assert newest is not None
    assert newest[1] == version
    for page in ("how-to/containers.md", "releasing.md"):
        text = (ROOT / "docs" / page).read_text("utf-8")
        assert set(re.findall(r"\b(?:v|marketpipe-|MarketPipe )(\d+\.\d+\.\d+)", text)) == {version}


def test_the_source_distribution_has_the_dashboards(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    run(command, check=True)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {str(path.relative_to(ROOT)) for path in (ROOT / "dashboards").rglob("*") if path.is_file()} <= names


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
    packages = os.pathsep.join(path for path in sys.path if "site-packages" in path)
    command = [sys.executable, "-c", script, "ingest", *words, "--json"]
    done = run(command, cwd=elsewhere, env=environment({"PYTHONPATH": packages}))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["complete"] == 1
