"""Configuration: YAML, .env and overrides become frozen classes.

    classes.py       the classes, one for each section, with their defaults
    calendar.py      the section calendar: exceptions and halts
    values.py        the reader of each kind of value, and what it refuses
    places.py        URLs of places that are on no disk
    symbol_lists.py  lists of symbols: named ones, and files
    file.py          YAML and overrides; unknown keys, and credentials in the wrong place
    credentials.py   keys for Alpaca and secrets of plugins, from the environment or .env
    origins.py       where each value comes from
    starter.py       the text of a new file

Everything that can be refused is refused here, before a file or a folder is created.
"""

from __future__ import annotations

from marketpipe.config.calendar import CalendarConfig, HaltConfig
from marketpipe.config.classes import (
    DASK,
    DATA,
    PROCESSES,
    SCHEDULER_VARIABLE,
    THREADS,
    ClientConfig,
    CoverageConfig,
    MetricsConfig,
    PipelineConfig,
    StoreConfig,
    SyntheticConfig,
    ValidationConfig,
    config_of_import,
)
from marketpipe.config.credentials import Credentials, find_credentials, find_secret, half_pairs, place_of_credentials
from marketpipe.config.file import (
    COMMAND_LINE,
    CONFIG_VARIABLE,
    ROOT_VARIABLE,
    USUAL_FILE,
    file_of_environment,
    load_config,
    load_store_config,
    usual_file,
)
from marketpipe.config.origins import ValueInForce, values_in_force
from marketpipe.config.places import POSTGRESQL, S3, is_on_disk, scheme_of, url_of
from marketpipe.config.starter import starter_text
from marketpipe.config.symbol_lists import SymbolLists, expanded
from marketpipe.config.values import LATEST, Latest, is_loopback, root_folder

__all__ = [
    "COMMAND_LINE",
    "CONFIG_VARIABLE",
    "DASK",
    "DATA",
    "LATEST",
    "POSTGRESQL",
    "PROCESSES",
    "ROOT_VARIABLE",
    "S3",
    "SCHEDULER_VARIABLE",
    "THREADS",
    "USUAL_FILE",
    "CalendarConfig",
    "ClientConfig",
    "CoverageConfig",
    "Credentials",
    "HaltConfig",
    "Latest",
    "MetricsConfig",
    "PipelineConfig",
    "StoreConfig",
    "SymbolLists",
    "SyntheticConfig",
    "ValidationConfig",
    "ValueInForce",
    "config_of_import",
    "expanded",
    "file_of_environment",
    "find_credentials",
    "find_secret",
    "half_pairs",
    "is_loopback",
    "is_on_disk",
    "load_config",
    "load_store_config",
    "place_of_credentials",
    "root_folder",
    "scheme_of",
    "starter_text",
    "url_of",
    "usual_file",
    "values_in_force",
]
