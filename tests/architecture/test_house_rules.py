from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import pytest

from tests.architecture import house_rules as rules
from tests.architecture.house_rules import RULES, Module, Rule
from tests.architecture.linting import SOURCES

PACKAGE: Final = SOURCES / "marketpipe"
MODULES: Final = [Module(p.relative_to(PACKAGE).as_posix(), p.read_text("utf-8")) for p in PACKAGE.rglob("*.py")]
FUTURE: Final = "from __future__ import annotations\n"
PORTS: Final = "storage/application/ports.py"
INFRASTRUCTURE: Final = "storage/infrastructure"

CAUGHT: Final = [
    (rules.no_broad_except, "x.py", "try: ...\nexcept: ...", 2),
    (rules.no_broad_except, "x.py", "try: ...\nexcept Exception: ...", 2),
    (rules.no_broad_except, "x.py", "try: ...\nexcept (ValueError, BaseException) as e: raise", 2),
    (rules.no_broad_except, "x.py", "try: ...\nexcept* Exception: ...", 2),
    (rules.no_broad_except, "x.py", "import builtins\ntry: ...\nexcept builtins.Exception: ...", 3),
    (rules.no_broad_except, "x.py", "from contextlib import suppress\nwith suppress(Exception): ...", 2),
    (rules.only_the_system_clock_tells_the_time, "x.py", "from datetime import datetime\ndatetime.now()", 2),
    (rules.only_the_system_clock_tells_the_time, "x.py", "import datetime as d\nd.datetime.utcnow()", 2),
    (rules.only_the_system_clock_tells_the_time, "x.py", "import datetime\nf(factory=datetime.date.today)", 2),
    (rules.only_the_system_clock_tells_the_time, "x.py", "from time import time as clock\nclock()", 2),
    (rules.only_the_system_clock_tells_the_time, "x.py", "def f():\n    import time\n    return time.time()", 3),
    (rules.only_the_system_clock_tells_the_time, "x.py", "import pandas as pd\npd.Timestamp.now('UTC')", 2),
    (rules.the_process_belongs_to_its_owner, "x.py", "import logging\nlogging.basicConfig()", 2),
    (rules.the_process_belongs_to_its_owner, "x.py", "import signal\nsignal.signal(2, f)", 2),
    (rules.only_the_machine_is_touched, f"{INFRASTRUCTURE}/x.py", "import os\nos.stat('x')", 2),
    (rules.only_the_machine_is_touched, f"{INFRASTRUCTURE}/x.py", "from os import replace as move\nmove('x', 'y')", 2),
    (rules.only_the_machine_is_touched, f"{INFRASTRUCTURE}/x.py", "with open('x') as file: ...", 1),
    (rules.only_the_machine_is_touched, f"{INFRASTRUCTURE}/x.py", "found = path.parent.glob('*')", 1),
    (rules.only_the_machine_is_touched, f"{INFRASTRUCTURE}/x.py", "self._path.unlink()", 1),
    (rules.only_the_machine_is_touched, f"{INFRASTRUCTURE}/x.py", "import threading\nlock = threading.Lock()", 2),
    (rules.only_the_machine_is_touched, "ingestion/application/x.py", "import time\ntime.monotonic()", 2),
    (rules.only_the_machine_is_touched, "integration/infrastructure/x.py", "import random\nrandom.uniform(0, 1)", 2),
    (rules.only_the_machine_is_touched, f"{INFRASTRUCTURE}/x.py", "import pyarrow as pa\npa.OSFile('x')", 2),
    (
        rules.only_the_machine_is_touched,
        f"{INFRASTRUCTURE}/x.py",
        "from concurrent.futures import ThreadPoolExecutor\nThreadPoolExecutor(2)",
        2,
    ),
    (rules.no_hidden_imports, "x.py", "duckdb = __import__('duckdb')", 1),
    (rules.no_hidden_imports, "x.py", "exec('import duckdb')", 1),
    (rules.no_module_imports_the_public_names, "x.py", "import attrs\nfrom marketpipe import Pipeline", 2),
    (rules.no_print, "x.py", "def f():\n    print('done')", 2),
    (rules.no_print, "x.py", "show = print", 1),
    (rules.files_are_named_after_what_they_are, "storage/domain/bar_utils.py", "", 1),
    (rules.files_are_named_after_what_they_are, "common/clock.py", "", 1),
    (rules.files_are_named_after_what_they_are, "storage/helper/__init__.py", "", 1),
    (rules.files_are_short, "x.py", "x = 1\n" * 451, 451),
    (rules.annotations_are_never_evaluated, "x.py", '"""Doc."""\nimport math\n' + FUTURE, 1),
    (rules.annotations_are_never_evaluated, "x.py", "X = 1", 1),
    (rules.ports_are_protocols, PORTS, "class BarStore: ...", 1),
    (rules.ports_are_protocols, PORTS, "from abc import ABC\nclass BarStore(ABC): ...", 2),
    (rules.ports_are_protocols, PORTS, "LIMIT = 3", 1),
    (rules.ports_are_protocols, PORTS, "LIMIT: int = 3", 1),
    (rules.ports_are_protocols, PORTS, "def store(): ...", 1),
    (rules.the_core_uses_few_libraries, "storage/domain/x.py", "import polars", 1),
    (
        rules.the_core_uses_few_libraries,
        "ingestion/application/x.py",
        "def f():\n    from urllib.request import urlopen",
        2,
    ),
    (rules.the_core_uses_few_libraries, "shared_kernel/event_bus.py", "import queue", 1),
    (rules.the_core_uses_few_libraries, "shared_kernel/events/x.py", "from uuid import uuid4", 1),
    (rules.values_are_bound_in_sql, "x.py", 'connection.execute(f"SELECT 1 WHERE s = {symbol}")', 1),
    (rules.values_are_bound_in_sql, "x.py", "sql = f\"DELETE FROM t WHERE s = '{symbol}'\"", 1),
    (rules.values_are_bound_in_sql, "x.py", 'SELECT = ""\nself._query(SELECT.format(symbol=symbol), ())', 2),
    (rules.values_are_bound_in_sql, "x.py", 'connection.execute("SELECT 1 WHERE s = " + symbol)', 1),
    (rules.values_are_bound_in_sql, "x.py", 'connection.sql("SELECT 1 WHERE s = %s" % symbol)', 1),
]

ALLOWED: Final = [
    (rules.no_broad_except, "x.py", "try: ...\nexcept (OSError, ValueError): ..."),
    (rules.only_the_system_clock_tells_the_time, rules.CLOCK, "from datetime import datetime\ndatetime.now()"),
    (rules.only_the_system_clock_tells_the_time, "x.py", "import time\nself.clock.now(), time.monotonic()"),
    (rules.the_process_belongs_to_its_owner, "terminal/process.py", "import signal\nsignal.signal(2, f)"),
    (rules.the_process_belongs_to_its_owner, "x.py", "import logging\nlogging.getLogger('x')"),
    (rules.only_the_machine_is_touched, f"{INFRASTRUCTURE}/x.py", "self._disk.unlink(path)\ndisk.replace(a, b)"),
    (rules.only_the_machine_is_touched, f"{INFRASTRUCTURE}/x.py", "import os\nos.path.join(a, b), os.O_RDONLY"),
    (rules.only_the_machine_is_touched, "storage/application/x.py", "self._files.exists(path)"),
    (rules.only_the_machine_is_touched, rules.MACHINE + "real_disk.py", "import os\nos.stat('x')"),
    (rules.only_the_machine_is_touched, "terminal/x.py", "import os\nos.stat('x')"),
    (rules.no_hidden_imports, "x.py", "import re\nre.compile('x')\nmodel.eval()"),
    (rules.no_module_imports_the_public_names, "x.py", "from marketpipe.pipeline import Pipeline"),
    (rules.no_print, "x.py", "console.print('x')"),
    (rules.files_are_named_after_what_they_are, "storage/domain/utilisation.py", ""),
    (rules.files_are_short, "x.py", "x = 1\n" * 450),
    (rules.annotations_are_never_evaluated, "__init__.py", ""),
    (rules.annotations_are_never_evaluated, "__init__.py", '"""Doc."""'),
    (rules.annotations_are_never_evaluated, "x.py", f'"""Doc."""\n{FUTURE}X = 1'),
    (rules.ports_are_protocols, PORTS, "from typing import Protocol\nclass BarStore(Protocol): ...\n_LIMIT = 3"),
    (rules.ports_are_protocols, "storage/domain/x.py", "class Partition: ..."),
    (rules.the_core_uses_few_libraries, "storage/domain/x.py", "from collections.abc import Mapping\nfrom . import y"),
    (rules.the_core_uses_few_libraries, "storage/infrastructure/x.py", "import polars"),
    (rules.values_are_bound_in_sql, "x.py", 'connection.execute(f"SELECT {COLUMNS} WHERE s = ?", [symbol])'),
    (rules.values_are_bound_in_sql, "x.py", 'raise Error(f"cannot select {symbol}")'),
]


def _ids_of(samples: Sequence[tuple[Rule, *tuple[object, ...]]]) -> list[str]:
    return [f"{rule.__name__}_{number}" for number, (rule, *_) in enumerate(samples)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rule(rule: Rule) -> None:
    assert {module.path: found for module in MODULES if (found := list(rule(module)))} == {}


@pytest.mark.parametrize(("rule", "path", "source", "line"), CAUGHT, ids=_ids_of(CAUGHT))
def test_a_rule_catches_what_it_forbids(rule: Rule, path: str, source: str, line: int) -> None:
    assert [int(found.partition(":")[0]) for found in rule(Module(path, source))] == [line]


@pytest.mark.parametrize(("rule", "path", "source"), ALLOWED, ids=_ids_of(ALLOWED))
def test_a_rule_lets_pass_what_it_does_not_forbid(rule: Rule, path: str, source: str) -> None:
    assert list(rule(Module(path, source))) == []


def test_every_rule_has_something_that_it_catches() -> None:
    assert {rule for rule, *_ in CAUGHT} == set(RULES)


def test_the_source_tree_was_found() -> None:
    assert {"cli.py", "shared_kernel/event_bus.py", rules.CLOCK, PORTS} <= {module.path for module in MODULES}


def test_every_folder_is_a_package_as_contracts_see_no_other() -> None:
    folders = {folder for path in PACKAGE.rglob("*.py") for folder in path.parents if folder.is_relative_to(PACKAGE)}
    assert {folder for folder in folders if not (folder / "__init__.py").is_file()} == set()


def test_everything_that_stays_real_is_there() -> None:
    touched = {(module.path, name) for module in MODULES for name in rules.touches_of_the_machine(module)}
    unused = [
        path
        for path, names in rules.STAYS_REAL.items()
        if not any(found.startswith(path) and re.fullmatch(names, name) for found, name in touched)
    ]
    assert unused == []
