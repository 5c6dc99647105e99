"""Rules that imports alone do not show. Each takes a module and yields what offends, as "line: what"."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import Final

from attrs import define

LONGEST: Final = 450
BROAD: Final = frozenset({"Exception", "BaseException", "builtins.Exception", "builtins.BaseException"})
NAMELESS: Final = frozenset({"util", "utils", "helper", "helpers", "common", "misc"})
CLOCK: Final = "shared_kernel/infrastructure/system_clock.py"
READS_THE_CLOCK: Final = frozenset(
    {
        *("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"),
        *("time.time", "time.time_ns", "time.localtime", "time.gmtime", "time.ctime"),
        *("pandas.Timestamp.now", "pandas.Timestamp.utcnow", "pandas.Timestamp.today"),
    }
)
SETS_UP_THE_PROCESS: Final = frozenset(
    {
        *("logging.basicConfig", "logging.config", "logging.captureWarnings", "signal.signal", "locale.setlocale"),
        "marketpipe.memory_arenas.share_one_arena",
    }
)
OWN_PROCESSES: Final = ("__main__.py", "terminal/process.py", "worker_pool.py", "dask_worker.py", "fork_server.py")
"""That of a command, of a worker, and of what workers are forked from."""
HIDES_IMPORTS: Final = frozenset({"__import__", "eval", "exec"})
RUNS_SQL: Final = frozenset({"execute", "executemany", "executescript", "sql", "query", "_query", "_volume"})
SQL: Final = re.compile(r"\s*(?:SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|PRAGMA|BEGIN|SET|ATTACH|COPY|WITH)\s")
PUT_INTO_SQL: Final = frozenset(
    {
        # DuckDB binds no value in CREATE VIEW and SET: names of views, SQL of this package, paths with doubled quotes
        ("storage/infrastructure/reading/duckdb_query.py", "name"),
        ("storage/infrastructure/reading/sandboxed_connections.py", "allowed"),
        *(
            ("storage/infrastructure/reading/query_views.py", name)
            for name in ("name", "table", "session", "bars", "official", "made", "source", "sql")
        ),
        *(
            ("storage/infrastructure/reading/minute_sources.py", name)
            for name in ("names", "types", "source", "bars", "dates")
        ),
        ("storage/infrastructure/reading/query_views.py", "view_of(timeframe)"),
        *(("storage/infrastructure/reading/session_hours.py", name) for name in ("opens", "closes", "ends")),
        *(
            ("storage/infrastructure/official/daily_bars.py", n)
            for n in ("PERIOD_UNITS[timeframe]", "days", "first_sessions")
        ),
        # names of levels and columns, and whole numbers, all of a Timeframe or of the module itself
        *(
            ("storage/infrastructure/aggregates/cascade.py", name)
            for name in ("source", "bucket", "timeframe.minutes", "keys", "levels", "selects", "_level(timeframe)")
        ),
        # SQL of a view, and the name of a table
        *(("storage/infrastructure/aggregates/cascade.py", name) for name in ("minutes", "sessions")),
        # words that stand in the same module, or in a Literal
        *(
            ("ingestion/infrastructure/sqlite_leases.py", "which"),
            ("ingestion/infrastructure/sqlite_schema.py", "name"),
        ),
        ("ingestion/infrastructure/sqlite_schema.py", "kind"),
        # parts of one statement of this package, with places for its values
        *(
            ("ingestion/infrastructure/postgres/native_sql.py", name)
            for name in ("head", "body", "given", "tail", "query")
        ),
        # names of tables and of their columns, all of sql/state_rows.py, and question marks
        *(
            (f"ingestion/infrastructure/{file}_rows.py", name)
            for file in ("sqlite", "postgres/postgres")
            for name in ("table.name", "table.columns", "table.key", "places")
        ),
    }
)
"""All that is put into SQL without being bound, besides constants; each has its reason."""
ON_THE_MACHINE: Final = ("storage/", "ingestion/", "integration/", "shared_kernel/")
MACHINE: Final = "shared_kernel/infrastructure/machine/"
TOUCHES_THE_MACHINE: Final = re.compile(
    r"(os|time|fcntl|uuid|random|secrets|tempfile|shutil|mmap|filelock)\."
    r"|threading\.(Lock|RLock|Condition|Event|Semaphore|Barrier|Thread|Timer)$"
    r"|concurrent\.futures\.(wait|as_completed|ThreadPoolExecutor)$"
    r"|sqlite3\.connect$|pyarrow\.(OSFile|memory_map)$"
)
TOUCHES_NOTHING: Final = re.compile(
    r"os\.(O_\w+|[A-Z]\w+|fspath|fsencode|fsdecode|sep|strerror|stat_result|getpid|environ|error)$"
    r"|os\.path$|os\.path\.(join|dirname|basename|normpath|split|splitext|isabs|relpath|commonpath)$"
    r"|fcntl\.LOCK_\w+$|random\.Random$|uuid\.(UUID|uuid5)$|time\.(struct_time|strftime)$"
)
OF_PATHS: Final = frozenset(
    {
        *("exists", "lexists", "iterdir", "glob", "rglob", "read_bytes", "read_text", "write_bytes", "write_text"),
        *("touch", "mkdir", "rmdir", "unlink", "rename", "hardlink_to", "symlink_to", "readlink", "samefile"),
        *("resolve", "is_mount", "expanduser"),
    }
)
"""Methods of ``Path`` that ask the disk, as far as nothing else has their names."""
STAYS_REAL: Final[Mapping[str, str]] = {
    # the adapters themselves, and defaults for callers that hand in no machine
    "shared_kernel/infrastructure/system_clock.py": r"threading\.Condition|time\.monotonic",
    "ingestion/application/batch_runner.py": r"concurrent\.futures\.as_completed",
    "ingestion/infrastructure/sqlite_schema.py": r"time\.monotonic",
    # a real server: no simulation has one
    "ingestion/infrastructure/postgres/": r"threading\.(Lock|Event|Thread)",
    "integration/infrastructure/alpaca/alpaca_client.py": r"concurrent\.futures\.ThreadPoolExecutor",
    "integration/infrastructure/base_api_client.py": r"concurrent\.futures\.ThreadPoolExecutor",
    "integration/infrastructure/retry.py": r"random\.uniform",
    # a real process: it is forked, or is one of its own
    "ingestion/__main__.py": r"os\.(_exit|write)",
    "ingestion/infrastructure/": r"os\.register_at_fork",
    # no port is called while these locks are held
    "integration/infrastructure/alpaca/fast_pages.py": r"threading\.Lock",
    "integration/infrastructure/rate_limits/rate_limiter.py": r"threading\.Lock",
    "storage/infrastructure/aggregates/bar_aggregator.py": r"threading\.Lock",
    "storage/infrastructure/reading/month_parts.py": r"threading\.Lock",
    # a bound in real seconds for a real network
    "integration/infrastructure/http_exchange.py": r"time\.monotonic",
    # data of the package itself
    "shared_kernel/infrastructure/session_table.py": r"os\.path\.isfile|read_bytes",
    # files of the user, outside of the store
    "shared_kernel/infrastructure/written_files.py": r"os\.path\.realpath|os\.stat",
    "storage/infrastructure/reading/exporting.py": r"os\.\w+|unlink",
    "storage/infrastructure/aggregates/freshness_survey.py": r"os\.path\.abspath",
    # what leaves a full cache: no answer depends on it
    "storage/infrastructure/aggregates/bounded_cache.py": r"random\.sample",
    # queries: DuckDB opens files by itself
    "storage/infrastructure/objects/laid_out_files.py": r"(os|shutil|tempfile|fcntl)\.[\w.]+|glob",
    "storage/infrastructure/reading/consistent_reading.py": r"os\.scandir",
    "storage/infrastructure/reading/duckdb_query.py": r"concurrent\.futures\.\w+|threading\.\w+|resolve",
    "storage/infrastructure/reading/sandboxed_connections.py": r"(os|secrets|shutil|tempfile|threading|time)\.[\w.]+",
    "storage/infrastructure/reading/minute_files.py": r"os\.stat",
    "storage/infrastructure/reading/minute_sources.py": r"resolve",
    "storage/infrastructure/reading/needed_files.py": r"glob|os\.listdir|resolve",
    "storage/infrastructure/reading/query_views.py": r"os\.path\.\w+|resolve",
}
"""What touches the machine without the port, by path: no simulation needs it there."""
PURE_LIBRARIES: Final = frozenset(
    {
        *(
            "__future__",
            "array",
            "bisect",
            "attrs",
            "collections",
            "concurrent",
            "contextlib",
            "datetime",
            "decimal",
            "difflib",
            "enum",
        ),
        *(
            "functools",
            "hashlib",
            "itertools",
            "marketpipe",
            "math",
            "operator",
            "re",
            "statistics",
            "struct",
            "types",
            "typing",
            "zoneinfo",
        ),
    }
)


@define(slots=False)
class Module:
    """``path`` is relative to src/marketpipe."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> Sequence[ast.AST]:
        return [*ast.walk(self.tree)]

    @cached_property
    def origins(self) -> Mapping[str, str]:
        """What each imported name stands for: ``{"dt": "datetime.datetime"}``."""
        found: dict[str, str] = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found |= {
                    a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0] for a in node.names
                }
            elif isinstance(node, ast.ImportFrom):
                found |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        return found

    @cached_property
    def references(self) -> Sequence[tuple[int, str]]:
        """The line and the full name of everything that is named, called or not."""
        return [(getattr(node, "lineno", 0), name) for node in self.nodes if (name := self.full_name(node))]

    def full_name(self, node: ast.AST | None) -> str:
        if isinstance(node, ast.Attribute):
            base = self.full_name(node.value)
            return f"{base}.{node.attr}" if base else ""
        return self.origins.get(node.id, node.id) if isinstance(node, ast.Name) else ""


Rule = Callable[[Module], Iterator[str]]


def no_broad_except(module: Module) -> Iterator[str]:
    for node in module.nodes:
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(kind is None or module.full_name(kind) in BROAD for kind in caught):
                yield f"{node.lineno}: a broad except"
        if isinstance(node, ast.Call) and module.full_name(node.func) == "contextlib.suppress":
            yield from (f"{node.lineno}: a broad suppress" for kind in node.args if module.full_name(kind) in BROAD)


def only_the_system_clock_tells_the_time(module: Module) -> Iterator[str]:
    if module.path != CLOCK:
        yield from (f"{line}: {name}" for line, name in module.references if name in READS_THE_CLOCK)


def the_process_belongs_to_its_owner(module: Module) -> Iterator[str]:
    """MarketPipe is embedded in other services; only the command line has a process of its own."""
    if module.path not in OWN_PROCESSES:
        yield from (f"{line}: {name}" for line, name in module.references if name in SETS_UP_THE_PROCESS)


def only_the_machine_is_touched(module: Module) -> Iterator[str]:
    """A disk, threads, processes and chance come from ``Machine``, so that a simulation can take their place."""
    allowed = [names for path, names in STAYS_REAL.items() if module.path.startswith(path)]
    for name, line in touches_of_the_machine(module).items():
        if not any(re.fullmatch(names, name) for names in allowed):
            yield f"{line}: {name}"


def touches_of_the_machine(module: Module) -> Mapping[str, int]:
    """Return what touches the machine without the port, and the first line of each."""
    if not module.path.startswith(ON_THE_MACHINE) or module.path.startswith(MACHINE):
        return {}
    named = [
        (line, name)
        for line, name in module.references
        if TOUCHES_THE_MACHINE.match(name) and not TOUCHES_NOTHING.match(name)
    ]
    return {name: line for line, name in reversed([*named, *_asked_of_paths(module)])}


def _asked_of_paths(module: Module) -> Iterator[tuple[int, str]]:
    """Return the calls of methods of paths, as of all that is not called a disk; ports may have the same names."""
    for node in module.nodes:
        if not isinstance(node, ast.Call) or "/infrastructure/" not in module.path:
            continue
        if module.full_name(node.func) in ("open", "io.open", "builtins.open"):
            yield node.lineno, "open"
        if isinstance(node.func, ast.Attribute) and node.func.attr in OF_PATHS:
            owner = node.func.value
            called = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if not called.endswith("disk") and not module.full_name(owner).startswith(("os", "marketpipe.")):
                yield node.lineno, node.func.attr


def no_hidden_imports(module: Module) -> Iterator[str]:
    yield from (f"{line}: {name}" for line, name in module.references if name in HIDES_IMPORTS)


def no_module_imports_the_public_names(module: Module) -> Iterator[str]:
    """They are imported lazily, so no contract sees what comes with them: inside, a name is imported from its home."""
    for node in module.nodes:
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "marketpipe":
            yield f"{node.lineno}: from marketpipe import"
        if isinstance(node, ast.Import) and any(alias.name == "marketpipe" for alias in node.names):
            yield f"{node.lineno}: import marketpipe"


def no_print(module: Module) -> Iterator[str]:
    yield from (f"{line}: {name}" for line, name in module.references if name in {"print", "builtins.print"})


def files_are_named_after_what_they_are(module: Module) -> Iterator[str]:
    for part in PurePosixPath(module.path).with_suffix("").parts:
        if NAMELESS & set(part.split("_")):
            yield f"1: {part} says nothing"


def files_are_short(module: Module) -> Iterator[str]:
    lines = len(module.text.splitlines())
    if lines > LONGEST:
        yield f"{lines}: too long"


def annotations_are_never_evaluated(module: Module) -> Iterator[str]:
    body = module.tree.body[1:] if ast.get_docstring(module.tree) is not None else module.tree.body
    first = ast.unparse(body[0]) if body else None
    if first not in (None, "from __future__ import annotations"):
        yield "1: from __future__ import annotations is not first"


def ports_are_protocols(module: Module) -> Iterator[str]:
    if not module.path.endswith("application/ports.py"):
        return
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef) and any(module.full_name(base) == "typing.Protocol" for base in node.bases):
            continue
        yield from (f"{node.lineno}: {name}" for name in _defined_by(node) if not name.startswith("_"))


def _defined_by(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def the_core_uses_few_libraries(module: Module) -> Iterator[str]:
    """Contract 5 says which it may not import; this closes the list."""
    if not module.path.partition("/")[2].startswith(("domain/", "application/", "events/", "event_bus.py")):
        return
    for node in module.nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [_source_of(node)]
            yield from (f"{node.lineno}: {name}" for name in names if name.split(".")[0] not in PURE_LIBRARIES)


def _source_of(node: ast.ImportFrom) -> str:
    return "marketpipe" if node.level else str(node.module)


def values_are_bound_in_sql(module: Module) -> Iterator[str]:
    """What is put into the text of a statement is a constant; values take the place of question marks."""
    run = {id(n.args[0]) for n in module.nodes if isinstance(n, ast.Call) and n.args and _runs_sql(n.func)}
    for node in module.nodes:
        if isinstance(node, ast.BinOp) and id(node) in run:
            yield f"{node.lineno}: SQL put together"
        for put in _put_into_sql(node, is_run=id(node) in run):
            constant = isinstance(put, ast.Name) and put.id.isupper()
            if not constant and (module.path, ast.unparse(put)) not in PUT_INTO_SQL:
                yield f"{node.lineno}: {ast.unparse(put)} is not bound"


def _runs_sql(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and function.attr in RUNS_SQL


def _put_into_sql(node: ast.AST, *, is_run: bool) -> list[ast.expr]:
    if isinstance(node, ast.JoinedStr):
        said = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
        parts = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
        return parts if is_run or SQL.match(said) else []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return [*node.args, *(keyword.value for keyword in node.keywords)]
    return []


RULES: Final[tuple[Rule, ...]] = (
    no_broad_except,
    only_the_system_clock_tells_the_time,
    the_process_belongs_to_its_owner,
    only_the_machine_is_touched,
    no_hidden_imports,
    no_module_imports_the_public_names,
    no_print,
    files_are_named_after_what_they_are,
    files_are_short,
    annotations_are_never_evaluated,
    ports_are_protocols,
    the_core_uses_few_libraries,
    values_are_bound_in_sql,
)
