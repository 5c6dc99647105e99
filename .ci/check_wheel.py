"""Build the wheel, and run it as users do: from a new virtual environment, with pipx run, and with uvx.

    python .ci/check_wheel.py        # "make wheel" installs what it needs first

Every way ingests invented bars in an empty folder and checks that they are complete. It needs a package index, and so
it is not part of "make test"; CI runs it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
SCOPE = ("--provider", "synthetic", "--symbols", "AAPL", "--start", "2024-11-29", "--end", "2024-11-29")


def main() -> None:
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        wheel = _built(folder)
        version = wheel.name.split("-")[1]
        bin_folder = Path(sys.executable).parent
        variables = {**os.environ, "PIPX_HOME": str(folder / "pipx"), "PIPX_BIN_DIR": str(folder / "bin")}
        ways = {
            "a new virtual environment": [str(_installed(folder / "venv", wheel))],
            "pipx run": [str(bin_folder / "pipx"), "run", "--spec", str(wheel), "marketpipe"],
            "uvx": [str(bin_folder / "uvx"), "--quiet", "--from", str(wheel), "marketpipe"],
        }
        for number, (name, program) in enumerate(ways.items()):
            empty = folder / f"empty-{number}"
            empty.mkdir()
            shown = _output([*program, "--version"], empty, variables)
            if shown != f"marketpipe {version}\n":
                raise SystemExit(f"{name}: --version printed {shown!r}")
            for words in (("init", *SCOPE), ("ingest", "--quiet"), ("coverage",)):
                _output([*program, *words], empty, variables)
            print(f"{wheel.name} works with {name}")  # noqa: T201


def _built(folder: Path) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    _output(command, folder, os.environ)
    (wheel,) = folder.glob("*.whl")
    return wheel


def _installed(folder: Path, wheel: Path) -> Path:
    venv.create(folder, with_pip=True)
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _output([*command, str(wheel)], folder, os.environ)
    return folder / "bin" / "marketpipe"


def _output(command: Sequence[str], folder: Path, variables: os._Environ[str] | dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
