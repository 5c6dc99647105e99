"""How many objects a million bars take is promised: the measurement says so with fewer symbols, too."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.child_processes import run

MEASUREMENT = Path(__file__).parents[2] / "benchmarks" / "fewest_writes.py"


@pytest.mark.parametrize("market", ["liquid", "thin"])
def test_a_million_bars_take_no_more_writes_than_promised(market: str, tmp_path: Path) -> None:
    asked = [sys.executable, str(MEASUREMENT), "--only", market, "--share", "0.25", "--folder", str(tmp_path)]
    measured = run(asked)
    assert measured.returncode == 0, measured.stdout + measured.stderr
    assert market in measured.stdout
