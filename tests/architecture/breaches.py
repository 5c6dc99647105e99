"""Forbidden imports, one or two lines each, and the contracts that each must break: these and no other."""

from __future__ import annotations

from typing import Final

from attrs import field, frozen


def _numbers(text: str) -> frozenset[str]:
    return frozenset(text.split())


@frozen
class Breach:
    """``source`` is added to the end of ``path``, or is all of it where the breach ``creates`` that file."""

    name: str
    path: str
    source: str
    contracts: frozenset[str] = field(converter=_numbers)
    creates: bool = False


STORE: Final = "storage/infrastructure/parquet_files.py"
STATE: Final = "ingestion/infrastructure/sqlite_state.py"
JOB: Final = "ingestion/domain/ingestion_job.py"
SCHEDULER: Final = "ingestion/application/job_scheduler.py"
RULES: Final = "validation/domain/validation_rule.py"
BASE_CLIENT: Final = "integration/infrastructure/base_api_client.py"
SYNTHETIC: Final = "integration/infrastructure/synthetic/synthetic_client.py"
IMPORTED: Final = "integration/infrastructure/imported/table_files.py"
BUS: Final = "shared_kernel/event_bus.py"

LAYERS: Final = [
    Breach("new_top_level_module", "forecasts.py", "VERSION = 1", "1", creates=True),
    Breach("new_top_level_package", "billing/__init__.py", "VERSION = 1", "1", creates=True),
    Breach("metrics_import_config", "metrics/registered.py", "import marketpipe.config", "1"),
    Breach("metrics_server_imports_metrics_user", "metrics_server.py", "import marketpipe.observers", "1"),
    Breach("metrics_imports_observers", "metrics/observer.py", "import marketpipe.observers", "1"),
    Breach("config_imports_provider_registry", "config/values.py", "import marketpipe.provider_registry", "1 9"),
    Breach("config_imports_a_context", "config/values.py", "import marketpipe.storage.domain", "1"),
    Breach("a_context_imports_config", STORE, "from marketpipe.config import StoreConfig", "1"),
    Breach("a_context_imports_metrics_server", STORE, "import marketpipe.metrics_server", "1"),
    Breach("composition_imports_pipeline", "composition.py", "from marketpipe.pipeline import Pipeline", "1 9"),
    Breach("composition_imports_worker_pool", "composition.py", "def f():\n    import marketpipe.worker_pool", "1 9"),
    Breach("place_parts_import_composition", "place_parts.py", "def f():\n    import marketpipe.composition", "1 7d 9"),
    Breach("parts_import_composition", "parts.py", "import marketpipe.composition", "1 7d 9"),
    Breach("completeness_imports_side_rings", "completeness.py", "import marketpipe.side_rings", "1"),
    Breach("store_imports_pipeline", "store.py", "import marketpipe.pipeline", "1 9"),
    Breach("importing_imports_pipeline", "importing.py", "import marketpipe.pipeline", "1 9"),
    Breach("terminal_imports_cli", "terminal/process.py", "def again():\n    import marketpipe.cli", "1 9"),
    Breach("commands_import_cli", "commands/setup.py", "def again():\n    import marketpipe.cli", "1 9"),
    Breach("terminal_imports_commands", "terminal/output.py", "import marketpipe.commands.options", "1 9"),
    Breach("reports_import_the_observers", "reports.py", "import marketpipe.observers", "1 9"),
    Breach("pipeline_imports_terminal", "pipeline.py", "def show():\n    import marketpipe.terminal.output", "1 9"),
    Breach("terminal_imports_loader", "terminal/output.py", "from marketpipe.loader import load_ohlcv", "1"),
    Breach("loader_imports_terminal", "loader.py", "import marketpipe.terminal.output", "1"),
    Breach("provider_kit_imports_registry", "provider_kit.py", "import marketpipe.provider_registry", "1"),
    Breach("commands_import_testing", "commands/setup.py", "def f():\n    import marketpipe.testing", "1"),
    Breach("testing_imports_the_command_line", "testing/bars.py", "import marketpipe.__main__", "1"),
    Breach("new_folder_in_a_context", "storage/services/__init__.py", "", "2", creates=True),
    Breach("new_module_in_a_context", "validation/judging.py", "", "2", creates=True),
    Breach("domain_imports_application", JOB, "import marketpipe.ingestion.application.ports", "2 9"),
    Breach("application_imports_infrastructure", SCHEDULER, "import marketpipe.ingestion.infrastructure", "2 7a"),
    Breach(
        "application_reaches_sqlite_in_its_context", SCHEDULER, "from ..infrastructure import sqlite_state", "2 5 7a"
    ),
    Breach("domain_imports_infrastructure", RULES, "import marketpipe.validation.infrastructure", "2 7a 9"),
    Breach("new_module_in_the_kernel", "shared_kernel/clock.py", "", "3", creates=True),
    Breach(
        "kernel_domain_imports_events",
        "shared_kernel/domain/symbol.py",
        "import marketpipe.shared_kernel.events",
        "3 9",
    ),
    Breach("events_import_the_bus", "shared_kernel/events.py", "import marketpipe.shared_kernel.event_bus", "3 9"),
    Breach("bus_imports_kernel_infrastructure", BUS, "import marketpipe.shared_kernel.infrastructure", "3 7c"),
]

INDEPENDENCE: Final = [
    Breach("lazy_import_of_another_context", STORE, "def rules():\n    import marketpipe.validation.domain", "1 4a"),
    Breach(
        "type_checking_import_of_another_context",
        SCHEDULER,
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import marketpipe.storage.application.ports",
        "1 4a",
    ),
    Breach("relative_import_of_another_context", RULES, "from ...storage.domain import data_partition", "1 4a"),
    Breach("star_import_of_another_context", STORE, "from marketpipe.ingestion.domain.ingestion_job import *", "1 4a"),
    Breach(
        "kernel_imports_a_context", "shared_kernel/domain/ohlcv_bar.py", "import marketpipe.storage.domain", "1 4a 9"
    ),
    Breach("imports_use_a_provider", IMPORTED, "import marketpipe.integration.infrastructure.synthetic", "4b"),
    Breach("a_provider_imports_another", SYNTHETIC, "import marketpipe.integration.infrastructure.alpaca", "4b"),
]

PURITY: Final = [
    Breach("domain_imports_pyarrow", JOB, "import pyarrow as pa", "5"),
    Breach("domain_imports_time", JOB, "import time", "5"),
    Breach("domain_imports_os_path", JOB, "from os.path import join", "5"),
    Breach("lazy_import_in_domain", RULES, "def now():\n    from time import monotonic\n    return monotonic()", "5"),
    Breach("type_checking_import_in_domain", RULES, "import typing\nif typing.TYPE_CHECKING:\n    import pyarrow", "5"),
    Breach("application_imports_threading", SCHEDULER, "from threading import Lock", "5"),
    Breach("application_catches_a_missing_import", SCHEDULER, "try:\n    import yaml\nexcept ImportError: ...", "5 8g"),
    Breach(
        "application_reaches_pandas_by_the_kernel",
        SCHEDULER,
        "from marketpipe.shared_kernel.infrastructure import exchange_calendar",
        "5 7c",
    ),
    Breach("bus_imports_logging", BUS, "import logging", "5"),
    Breach("events_import_numpy", "shared_kernel/events.py", "import numpy as np", "5"),
    Breach("a_context_imports_importlib", STORE, "import importlib", "6"),
    Breach("kernel_imports_importlib_lazily", BUS, "def load():\n    from importlib import import_module", "6"),
    Breach("a_context_walks_packages", BASE_CLIENT, "import pkgutil", "6"),
    Breach("a_context_runs_modules", STATE, "import runpy", "6"),
    Breach("the_ingestion_entry_point_imports_importlib", "ingestion/__main__.py", "import importlib.util", "6"),
]

HOMES: Final = [
    Breach("pipeline_imports_storage_infrastructure", "pipeline.py", "import marketpipe.storage.infrastructure", "7a"),
    Breach(
        "loader_imports_storage_infrastructure",
        "loader.py",
        "import marketpipe.storage.infrastructure.reading.bar_loader",
        "7a",
    ),
    Breach("cli_imports_ingestion_infrastructure", "cli.py", "import marketpipe.ingestion.infrastructure", "7a"),
    Breach(
        "reports_import_validation_infrastructure", "reports.py", "import marketpipe.validation.infrastructure", "7a"
    ),
    Breach(
        "the_ingestion_entry_point_imports_sqlite_state",
        "ingestion/__main__.py",
        "from .infrastructure import sqlite_state",
        "7a",
    ),
    Breach(
        "a_context_exports_its_infrastructure",
        "storage/__init__.py",
        "from .infrastructure import parquet_files",
        "7a",
    ),
    Breach(
        "provider_kit_imports_storage_infrastructure",
        "provider_kit.py",
        "import marketpipe.storage.infrastructure",
        "7a",
    ),
    Breach("pipeline_imports_a_provider", "pipeline.py", "import marketpipe.integration.infrastructure.alpaca", "7b"),
    Breach("scoping_imports_a_provider", "scoping.py", "import marketpipe.integration.infrastructure.synthetic", "7b"),
    Breach(
        "public_names_bypass_the_provider_kit",
        "__init__.py",
        "from .integration.infrastructure import base_api_client",
        "7b",
    ),
    Breach(
        "pipeline_imports_the_system_clock",
        "pipeline.py",
        "from .shared_kernel.infrastructure import system_clock",
        "7c",
    ),
    Breach("loader_imports_composition", "loader.py", "from marketpipe.composition import state", "7d"),
    Breach("terminal_imports_composition", "terminal/store.py", "def f():\n    import marketpipe.composition", "7d"),
    Breach("httpx_in_storage", STORE, "import httpx", "8a"),
    Breach("httpx_in_composition", "composition.py", "from httpx import Client", "8a"),
    Breach("pyrate_limiter_in_ingestion", STATE, "import pyrate_limiter", "8a"),
    Breach("tenacity_in_storage", STORE, "from tenacity import retry", "8a"),
    Breach("duckdb_in_ingestion", STATE, "import duckdb", "8b"),
    Breach("duckdb_in_pipeline", "pipeline.py", "def connect():\n    import duckdb", "8b"),
    Breach("sqlite_in_storage", STORE, "import sqlite3", "8c"),
    Breach("jsonschema_in_storage", STORE, "import jsonschema", "8d"),
    Breach("jsonschema_in_config", "config/file.py", "from jsonschema import validate", "8d"),
    Breach("pandas_in_storage", STORE, "import pandas as pd", "8e"),
    Breach("exchange_calendars_in_composition", "composition.py", "import exchange_calendars", "8e"),
    Breach("prometheus_client_in_storage", STORE, "from prometheus_client import Counter", "8f"),
    Breach("prometheus_client_in_cli", "cli.py", "from prometheus_client.core import REGISTRY", "8f"),
    Breach("yaml_in_composition", "composition.py", "import yaml", "8g"),
    Breach("dotenv_in_integration", BASE_CLIENT, "from dotenv import load_dotenv", "8g"),
    Breach("typer_in_pipeline", "pipeline.py", "import typer", "8h"),
    Breach("rich_in_storage", STORE, "from rich.progress import track", "8h"),
    Breach("pytest_in_provider_kit", "provider_kit.py", "import pytest", "8j"),
    Breach("numba_in_storage", STORE, "from numba import njit", "8l"),
    Breach("obstore_in_the_bar_store", STORE, "def put():\n    import obstore", "8m"),
    Breach("psycopg_in_storage", STORE, "def connect():\n    import psycopg", "8n"),
    Breach("distributed_in_pipeline", "pipeline.py", "from distributed import Client", "8o"),
    Breach("jinja2_in_terminal", "terminal/store.py", "from jinja2 import Template", "8k"),
    Breach("testing_imports_an_adapter", "testing/bars.py", "import marketpipe.integration.infrastructure", "7b"),
]

CYCLES: Final = [
    Breach("base_client_imports_a_provider", BASE_CLIENT, "from .alpaca import alpaca_client", "9"),
    Breach(
        "two_modules_import_each_other",
        "storage/infrastructure/store_layout.py",
        "from . import partition_manager",
        "9",
    ),
    Breach("two_value_objects_import_each_other", "shared_kernel/domain/symbol.py", "from . import ohlcv_bar", "9"),
    Breach("a_cycle_behind_a_lazy_import", "config/values.py", "def again():\n    from . import file", "9"),
    Breach("observers_and_reports", "reports.py", "from marketpipe.observers import IngestionCounter", "1 9"),
]

BREACHES: Final = (*LAYERS, *INDEPENDENCE, *PURITY, *HOMES, *CYCLES)
