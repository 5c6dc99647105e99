"""YAML, .env and overrides become frozen configuration classes; everything is refused here that can be refused."""

from __future__ import annotations

from marketpipe.config.classes import (
    ClientConfig,
    MetricsConfig,
    PipelineConfig,
    StoreConfig,
    SyntheticConfig,
    ValidationConfig,
)
from marketpipe.config.credentials import Credentials, find_credentials
from marketpipe.config.file import load_config, load_store_config

__all__ = [
    "ClientConfig",
    "Credentials",
    "MetricsConfig",
    "PipelineConfig",
    "StoreConfig",
    "SyntheticConfig",
    "ValidationConfig",
    "find_credentials",
    "load_config",
    "load_store_config",
]
