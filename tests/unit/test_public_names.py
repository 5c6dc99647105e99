"""The public names of the library, and what importing them does not load."""

from __future__ import annotations

import ast
import json
import sys
from importlib import import_module
from pathlib import Path

import pytest
from attrs import evolve

import marketpipe
from marketpipe import IntegrityReport, RetryPolicy
from marketpipe.testing import bars_request
from tests.support.child_processes import run

FORMER_NAMES = {"ProviderTraits": "ProviderCapabilities"}
_ASKED = bars_request(["AAPL"], "2024-01-02", "2024-01-02")
PUBLIC_NAMES = [
    "AddressInUseError",
    "AggregatesPrepared",
    "AggregatesRefreshed",
    "AggregationReport",
    "AskedSession",
    "AuditFinished",
    "AuditReport",
    "AuditStarted",
    "AuthStrategy",
    "BAR_SCHEMA",
    "BadRequestError",
    "BarsCompared",
    "BarsExhausted",
    "BarsFetched",
    "BarsRequest",
    "BarsRequested",
    "BarsStored",
    "BarsValidated",
    "BaseApiClient",
    "CalendarConfig",
    "CalendarException",
    "ClientConfig",
    "Clock",
    "ClockError",
    "CollectionReport",
    "CompactedMonth",
    "CompactionReport",
    "ConfigurationError",
    "ConnectionFailedError",
    "CoverageConfig",
    "CoverageReport",
    "Credentials",
    "CredentialsError",
    "Damage",
    "DataFeed",
    "DatasetIdentity",
    "DatasetLock",
    "DatasetMismatchError",
    "DayComparison",
    "DayFigures",
    "DaySource",
    "DaysOfYear",
    "DropReport",
    "EndlessPagingError",
    "EntitlementError",
    "Event",
    "Evidence",
    "ExportReport",
    "FileFormat",
    "FilesSynced",
    "Finding",
    "Gap",
    "HaltConfig",
    "HeaderTokenAuth",
    "HealthReason",
    "HealthReport",
    "HttpExchange",
    "ImportPreview",
    "ImportReport",
    "IncompleteError",
    "IncompleteWarning",
    "IngestionInterrupted",
    "IngestionReport",
    "IntegrityProblem",
    "IntegrityReport",
    "JobFinished",
    "JobStarted",
    "JobStoppingError",
    "LeasesAwaited",
    "LockScope",
    "LockedFile",
    "MalformedResponseError",
    "MarketDataProvider",
    "MarketPipeError",
    "MetricsConfig",
    "MetricsDeliveryError",
    "MetricsNotDelivered",
    "MetricsNotServed",
    "MetricsServed",
    "OHLCVBar",
    "OfficialDay",
    "OfficialDayChange",
    "OfficialDaysChanged",
    "OfficialDaysFetched",
    "OfficialDaysReport",
    "OfficialDaysRequested",
    "OfficialDaysStored",
    "OfficialDaysValidated",
    "Outcome",
    "PartitionUnreadableError",
    "Pipeline",
    "PipelineClosedError",
    "PipelineConfig",
    "PlanEstimate",
    "PlanReport",
    "Price",
    "ProviderCapabilities",
    "ProviderContext",
    "ProviderError",
    "ProviderTimeoutError",
    "ProviderTraits",
    "ProviderUnavailableError",
    "ProviderUnreachableError",
    "PublicationReport",
    "QueryError",
    "RateLimitReport",
    "RateLimitWaited",
    "RateLimitedError",
    "RateLimiter",
    "RateWindow",
    "RawMarketData",
    "RecoveryReport",
    "RefusedSymbol",
    "ReportPage",
    "RequestCompleted",
    "RequestRetried",
    "Restatement",
    "RestatementKind",
    "RestatementsAdopted",
    "RestatementsFound",
    "RetryPolicy",
    "RuleFinding",
    "RunFinished",
    "SessionHours",
    "SessionKind",
    "SessionVerdict",
    "Severity",
    "StateCopyReport",
    "StateError",
    "StatusReport",
    "StorageError",
    "StoreBusyError",
    "StoreConfig",
    "StoreCopyReport",
    "StoreUnreachableError",
    "StoredOfficialYear",
    "StoredSymbolDay",
    "Suspicion",
    "Symbol",
    "SymbolAdjustment",
    "SymbolCoverage",
    "SymbolDay",
    "SymbolDayOutcome",
    "SymbolDaysRecorded",
    "SymbolRefusedError",
    "SymbolRun",
    "SyntheticConfig",
    "TerminalProviderError",
    "TimeWindow",
    "Timeframe",
    "Timestamp",
    "TradedMinutes",
    "TradingDate",
    "TradingSession",
    "TransientProviderError",
    "ValidationConfig",
    "ValidationError",
    "ValidationReport",
    "Verdict",
    "WorkerLostError",
    "WrongAnswerError",
    "copy_store",
    "get",
    "load_config",
    "load_ohlcv",
    "show_progress",
]
HEAVY = {"pyarrow", "duckdb", "pandas", "exchange_calendars", "httpx", "numpy", "jsonschema", "prometheus_client"}
NOT_FOR_IMPORT = HEAVY | {"typer", "rich"}
NOT_FOR_HELP = HEAVY | {"yaml"}
RUN_AND_LIST_MODULES = """
import json, runpy, sys
try:
    runpy.run_module("marketpipe", run_name="__main__", alter_sys=True)
    code = None
except SystemExit as leaving:
    code = leaving.code
print()
print(json.dumps([code, sorted(sys.modules)]))
"""


def modules_after(statement: str) -> set[str]:
    """Return the top-level packages that a new interpreter has loaded after the statement."""
    script = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    return _top_level(json.loads(_python("-c", script).splitlines()[-1]))


def _python(*arguments: str) -> str:
    done = run([sys.executable, *arguments], check=True)
    assert done.stderr == ""
    return done.stdout


def _top_level(modules: list[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def test_public_names_are_as_listed() -> None:
    assert sorted(marketpipe.__all__) == PUBLIC_NAMES


def test_no_public_name_is_listed_twice() -> None:
    assert len(marketpipe.__all__) == len(set(marketpipe.__all__))


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_public_name_resolves_to_the_object_of_that_name(name: str) -> None:
    value = getattr(marketpipe, name)
    assert getattr(value, "__name__", name) == FORMER_NAMES.get(name, name)
    assert getattr(marketpipe, name) is value


def test_the_stub_lists_the_same_names_and_modules() -> None:
    tree = ast.parse(Path(marketpipe.__file__).with_suffix(".pyi").read_text("utf-8"))
    listed = {
        alias.asname or alias.name: f"marketpipe.{imported.module}"
        for imported in tree.body
        if isinstance(imported, ast.ImportFrom)
        for alias in imported.names
    }
    assert sorted(listed) == PUBLIC_NAMES
    for name, module in listed.items():
        assert getattr(import_module(module), name) is getattr(marketpipe, name)


@pytest.mark.parametrize("before", ["", "marketpipe.Symbol", "import marketpipe.config, marketpipe.pipeline"])
def test_dir_lists_the_public_names_and_nothing_else(before: str) -> None:
    script = f"import json, marketpipe\n{before}\nprint(json.dumps(dir(marketpipe)))"

    assert json.loads(_python("-c", script)) == PUBLIC_NAMES


@pytest.mark.parametrize("name", ["Ticker", "pipelines", "_HOMES_", "__wrapped__"])
def test_a_name_that_is_not_public_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"No marketpipe attribute {name}"):
        getattr(marketpipe, name)


def test_star_import_brings_exactly_the_public_names() -> None:
    space: dict[str, object] = {}
    exec("from marketpipe import *", space)
    assert sorted(set(space) - {"__builtins__"}) == PUBLIC_NAMES


def test_importing_marketpipe_imports_nothing_heavy() -> None:
    loaded = modules_after("import marketpipe")
    assert "marketpipe" in loaded
    assert loaded & NOT_FOR_IMPORT == set()


@pytest.mark.parametrize("name", ["OHLCVBar", "BarsStored", "MarketPipeError"])
def test_using_a_type_of_the_kernel_imports_nothing_heavy(name: str) -> None:
    assert modules_after(f"from marketpipe import {name}") & NOT_FOR_IMPORT == set()


def test_importing_marketpipe_configures_no_logging_and_starts_no_thread() -> None:
    state = "import logging, threading; print(logging.root.handlers, threading.active_count())"
    assert _python("-c", f"from marketpipe import Pipeline\n{state}").strip() == "[] 1"


def test_the_testing_kit_says_how_to_get_pytest() -> None:
    without_pytest = "import sys; sys.modules['pytest'] = None"
    tried = "try:\n    import marketpipe.testing\nexcept ModuleNotFoundError as error:\n    print(error)"
    assert _python("-c", f"{without_pytest}\n{tried}") == (
        "marketpipe.testing needs pytest: pip install 'marketpipe[testing]'\n"
    )


def test_help_imports_nothing_heavy() -> None:
    output = _python("-c", f"import sys; sys.argv = ['marketpipe', '--help']\n{RUN_AND_LIST_MODULES}")
    code, modules = json.loads(output.splitlines()[-1])
    assert code == 0
    assert "ingest" in output
    assert "typer" in modules
    assert _top_level(modules) & NOT_FOR_HELP == set()


def test_help_of_the_module_is_printed() -> None:
    assert "Keeps a local store of OHLCV bars complete" in _python("-m", "marketpipe", "--help")


def test_a_request_can_be_read_by_its_former_names() -> None:
    probing = evolve(_ASKED, probing=True, lease=7)

    assert (_ASKED.patient, _ASKED.claim) == (True, None)
    assert (probing.patient, probing.claim) == (False, 7)


def test_policies_and_reports_can_be_read_by_their_former_names() -> None:
    policy = RetryPolicy(attempts=8)

    assert policy.hurried == policy.probing
    assert IntegrityReport(1, 2, (), suspect=3).doubted == 3
