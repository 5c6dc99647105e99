"""Rules of the test suite itself: where processes start, and what unit tests are named after."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

import pytest

from tests.architecture.house_rules import Module
from tests.architecture.linting import PROJECT, SOURCES

TESTS: Final = PROJECT / "tests"
PACKAGE: Final = SOURCES / "marketpipe"
STARTS_PROCESSES: Final = ("subprocess", "multiprocessing", "pty", "pexpect", "os.fork", "os.forkpty", "os.posix_spawn")
STARTS_PROCESSES_TOO: Final = ("os.spawn", "os.popen", "os.system", "concurrent.futures.ProcessPoolExecutor")
MAY_START_PROCESSES: Final = frozenset(
    {
        ("support/child_processes.py", "subprocess"),  # every process starts here, and none outlives the test run
        ("support/forked_cli.py", "os.fork"),  # in a server that was started there
    }
)
PUBLIC_NAMES: Final = "test_public_names.py"
TRIES_SOME: Final = re.compile(
    r"^from tests\.support\.(examples|nasty) import |^from tests\.simulation\.disk\.failing import [^)]*\bfailures\b"
    r"|^@given\(|^[A-Z]+ = .*MARKETPIPE_(KILL|FULL)_STRIDE",
    re.MULTILINE,
)
TRIES_MORE_BY_ITSELF: Final = re.compile(
    r"^from tests\.support\.examples import (?:\([^)]*|[^(\n]*)\bALL\b"
    r"|^from tests\.simulation\.disk\.failing import [^)]*\bfailures\b"
    r"|^[A-Z]+ = .*MARKETPIPE_(KILL|FULL)_STRIDE",
    re.MULTILINE,
)
"""Modules whose tests try more in a way that only ``tries_more`` shows."""
THIN_FOR_OTHERS: Final = {
    *("conftest.py", "simulation/disk/failing.py", "support/nasty.py"),
    "unit/storage/infrastructure/reading/conftest.py",
}
"""What uses tests/support/examples.py besides tests."""


SPEAKS_OF_ONE: Final = re.compile(
    rf"\b({'|'.join(name.rpartition('.')[2] for name in (*STARTS_PROCESSES, *STARTS_PROCESSES_TOO))})"
)
"""Only modules with such a word are parsed: it takes long, and few have one."""


def processes_start_in_one_place(module: Module) -> Iterator[str]:
    if not SPEAKS_OF_ONE.search(module.text):
        return
    forbidden = (*STARTS_PROCESSES, *STARTS_PROCESSES_TOO)
    allowed = {name for path, name in MAY_START_PROCESSES if path == module.path}
    for name in sorted({name for _, name in module.references} | set(module.origins.values())):
        if name.startswith(forbidden) and not name.startswith(tuple(allowed)):
            yield f"{name}: use tests.support.child_processes"


def has_its_module(test: PurePosixPath, modules: set[PurePosixPath]) -> bool:
    """True for ``test_<module>.py`` and ``test_<module>_<aspect>.py`` in the folder of that module."""
    words = test.stem.removeprefix("test_").split("_")
    names = ("_".join(words[:count]) for count in range(1, len(words) + 1))
    return any(test.with_name(f"{name}.py") in modules for name in names)


def test_processes_start_in_one_place() -> None:
    modules = [Module(path.relative_to(TESTS).as_posix(), path.read_text("utf-8")) for path in TESTS.rglob("*.py")]
    assert {module.path: found for module in modules if (found := [*processes_start_in_one_place(module)])} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess\nsubprocess.run(['ls'])",
        "from subprocess import Popen",
        "import os\nos.fork()",
        "from os import system",
        "import multiprocessing as mp\nmp.Process()",
        "from concurrent.futures import ProcessPoolExecutor",
    ],
)
def test_a_process_started_elsewhere_is_caught(source: str) -> None:
    assert [*processes_start_in_one_place(Module("unit/test_x.py", source))] != []


@pytest.mark.parametrize("source", ["import os\nos.kill(1, 9)", "from concurrent.futures import ThreadPoolExecutor"])
def test_what_starts_no_process_is_allowed(source: str) -> None:
    assert [*processes_start_in_one_place(Module("unit/test_x.py", source))] == []


def test_every_unit_test_is_in_the_folder_of_the_module_that_it_tests() -> None:
    modules = {PurePosixPath(path.relative_to(PACKAGE).as_posix()) for path in PACKAGE.rglob("*.py")}
    unit = TESTS / "unit"
    tests = {PurePosixPath(path.relative_to(unit).as_posix()) for path in unit.rglob("test_*.py")}
    assert sorted(str(test) for test in tests if not has_its_module(test, modules)) == [PUBLIC_NAMES]


@pytest.mark.parametrize(
    ("test", "has_one"),
    [
        ("storage/domain/test_revision.py", True),
        ("storage/domain/test_revision_order.py", True),
        ("storage/domain/test_revisions.py", False),
        ("storage/test_revision.py", False),
        ("test_revision.py", False),
    ],
)
def test_a_unit_test_is_named_after_its_module(test: str, has_one: bool) -> None:
    assert has_its_module(PurePosixPath(test), {PurePosixPath("storage/domain/revision.py")}) is has_one


def left_out(tests: dict[str, str], makefile: str) -> set[str]:
    """Return the tests, by path, that try some of many cases and are not among those of ``make test-thoroughly``."""
    thinned = re.search(r"^THINNED := (.*)", makefile, re.MULTILINE)
    assert thinned is not None
    tried = re.compile(thinned[1], re.MULTILINE)
    return {path for path, text in tests.items() if TRIES_SOME.search(text) and not tried.search(text)}


def test_what_tries_some_of_many_cases_tries_all_of_them_thoroughly() -> None:
    modules = {path.relative_to(TESTS).as_posix(): path.read_text("utf-8") for path in TESTS.rglob("*.py")}
    tests = {path: text for path, text in modules.items() if PurePosixPath(path).name.startswith("test_")}
    assert left_out(tests, (PROJECT / "Makefile").read_text("utf-8")) == set()
    thin = {path for path, text in modules.items() if re.search(r"^from tests\.support\.examples ", text, re.MULTILINE)}
    assert thin - tests.keys() == THIN_FOR_OTHERS


def unmarked(tests: dict[str, str]) -> set[str]:
    """Return the modules, by path, that try more in their own way, and have no test that is marked so.

    One such test excuses the others of its module.
    """
    return {
        path
        for path, text in tests.items()
        if TRIES_MORE_BY_ITSELF.search(text) and not re.search(r"^(@|pytestmark = )tries_more$", text, re.MULTILINE)
    }


def test_what_tries_more_in_its_own_way_is_marked() -> None:
    tests = {path.relative_to(TESTS).as_posix(): path.read_text("utf-8") for path in TESTS.rglob("test_*.py")}
    assert unmarked(tests) == set()


@pytest.mark.parametrize("mark", ["", "@tries_more\n", "pytestmark = tries_more\n"])
@pytest.mark.parametrize(
    "source",
    [
        "from tests.support.examples import ALL, some\n",
        "from tests.support.examples import (\n    ALL,\n    some,\n)\n",
        'STRIDE = int(os.environ["MARKETPIPE_KILL_STRIDE"])\n',
        "from tests.simulation.disk.failing import (\n    Killed,\n    failures,\n)\n",
    ],
)
def test_a_test_that_tries_more_and_does_not_say_so_is_caught(source: str, mark: str) -> None:
    tests = {"e2e/test_a.py": source + mark, "test_b.py": "from tests.support.examples import some\n"}
    assert unmarked(tests) == (set() if mark else {"e2e/test_a.py"})


@pytest.mark.parametrize(
    "source",
    [
        "from tests.support.examples import some\n",
        'STRIDE = int(os.environ["MARKETPIPE_KILL_STRIDE"])',
        "from tests.simulation.disk.failing import (\n    Killed,\n    failures,\n)",
        "@given(st.text())\n",
    ],
)
def test_a_test_of_some_cases_that_is_never_thorough_is_caught(source: str) -> None:
    tests = {"e2e/test_a.py": source, "e2e/test_b.py": f"from hypothesis import given\n{source}", "test_c.py": ""}
    assert left_out(tests, "THINNED := ^from hypothesis import\n") == {"e2e/test_a.py"}
