"""``make test`` and ``make test-thoroughly`` together run every case, and the second none that the first runs alike."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from tests.architecture.linting import PROJECT
from tests.support.child_processes import run
from tests.support.examples import thoroughly

MODULE: Final = """
import pytest
from hypothesis import given, strategies as st
from tests.support.examples import some, some_params, thoroughly, tries_more

@pytest.mark.parametrize("case", some(range(7)))
def test_cases(case): ...

@pytest.mark.parametrize("inner", some(["a", "b"]))
@pytest.mark.parametrize("outer", range(6))
def test_stacked(outer, inner): ...

@pytest.mark.parametrize(("one", "two"), some([(1, "x"), (2, "x"), (1, "y")]))
def test_pairs(one, two): ...

@pytest.fixture(params=some_params(["first", "second"]))
def made(request): ...

@pytest.mark.parametrize("number", range(3))
def test_of_a_fixture(made, number): ...

@pytest.mark.parametrize("number", [1, 2])
def test_plain(number): ...

@thoroughly
def test_long(): ...

@tries_more
def test_by_itself(): ...

@given(st.integers())
def test_drawn(number): ...
"""
CHOOSING: Final = ("MARKETPIPE_ALL_EXAMPLES", "MARKETPIPE_ON_THE_DISK")
AGAIN: Final = {"test_by_itself", "test_drawn"}
"""They try more when they are run again."""


def collected(module: Path, **variables: str) -> set[str]:
    words = ["-m", "pytest", "--collect-only", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    place = ["-c", str(PROJECT / "pyproject.toml"), "--rootdir", str(module.parent), str(module)]
    inherited = {name: value for name, value in os.environ.items() if name not in CHOOSING}
    ended = run([sys.executable, *words, *place], cwd=PROJECT, env={**inherited, **variables}, check=True)
    return {line.partition("::")[2] for line in ended.stdout.splitlines() if "::" in line}


@thoroughly
def test_no_case_is_left_out_and_none_is_run_alike_twice(tmp_path: Path) -> None:
    module = tmp_path / "test_made.py"
    module.write_text(MODULE)
    every = collected(module, MARKETPIPE_ALL_EXAMPLES="1")
    tried = collected(module) - {"test_long"}  # it is skipped
    thorough = collected(module, MARKETPIPE_ALL_EXAMPLES="1", MARKETPIPE_ON_THE_DISK="tests/none")

    assert len(every) == 7 + 12 + 3 + 6 + 2 + 3
    assert tried | thorough == every
    assert tried & thorough == AGAIN
    assert len(tried) == 2 + 6 + 1 + 3 + 2 + 2
    assert collected(module, MARKETPIPE_ALL_EXAMPLES="1", MARKETPIPE_ON_THE_DISK="test_made.py") == every
