"""A fixed set of seeds keeps all promises, the same seed is the same world, and what a world has found stays fixed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.simulation.__main__ import FIXED
from tests.simulation.real_files import removed_with_the_child
from tests.support import child_processes
from tests.support.examples import ALL, tries_more

pytestmark = tries_more

STORIES: Final = sorted(Path(__file__).with_name("stories").glob("*.json"))[:: 1 if ALL else 12]
"""Each was found by a world, and is named after its bug. ``make test-thoroughly`` replays all of them."""
PARTS: Final = 2 if ALL else 1
"""So many processes share the stories."""
STEPS: Final = 40 if ALL else 20
SEEDS: Final = (1, 3, 6, 7) if ALL else (1,)


def simulation(*arguments: object) -> Any:
    command = [sys.executable, "-m", "tests.simulation", *map(str, arguments)]
    with removed_with_the_child() as environment:
        return child_processes.run(command, env={**environment, **FIXED})


def lines_of(log: Path) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fixed_seed_keeps_all_promises(seed: int, tmp_path: Path) -> None:
    times = 2 if seed == SEEDS[0] else 1
    ended = simulation("--seeds", ",".join([str(seed)] * times), "--steps", STEPS, "--log", tmp_path / "log")
    found = lines_of(tmp_path / "log")
    assert [line["failures"] for line in found] == [[]] * times, ended.stderr
    assert len({(line["trace"], line["calls"], line["files"]) for line in found}) == 1


@pytest.mark.parametrize("part", range(PARTS))
def test_what_a_world_has_found_stays_fixed(part: int) -> None:
    ended = simulation("--story", *STORIES[part::PARTS])
    assert ended.returncode == 0, ended.stdout + ended.stderr
