"""YAML, .env and overrides become frozen configuration classes; everything is refused here that can be refused."""

from __future__ import annotations

from marketpipe.config.classes import (
    PROCESSES,
    ClientConfig,
    CoverageConfig,
    MetricsConfig,
    PipelineConfig,
    StoreConfig,
    SyntheticConfig,
    ValidationConfig,
)
from marketpipe.config.credentials import Credentials, find_credentials
from marketpipe.config.file import load_config, load_store_config
from marketpipe.config.values import LATEST, Latest

__all__ = [
    "LATEST",
    "PROCESSES",
    "ClientConfig",
    "CoverageConfig",
    "Credentials",
    "Latest",
    "MetricsConfig",
    "PipelineConfig",
    "StoreConfig",
    "SyntheticConfig",
    "ValidationConfig",
    "find_credentials",
    "load_config",
    "load_store_config",
]
