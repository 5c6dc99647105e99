"""Configuration files that tests write: a valid minimum, with keys changed, added or left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from marketpipe.config import PipelineConfig

MINIMUM = {"provider": "synthetic", "symbols": "[AAPL]", "start": "2024-01-02", "end": "2024-01-31"}
LoadText = Callable[..., PipelineConfig]
"""Takes the text of a file, and overrides; loads it from ``config.yaml``."""


def yaml_text(changes: Mapping[str, str | None] | None = None, **more: str | None) -> str:
    """One line per key, its value as YAML; None leaves the key out. ``alpaca.feed`` becomes ``alpaca: {feed: …}``."""
    lines = {**MINIMUM, **(changes or {}), **more}
    return "".join(_line(key, value) for key, value in lines.items() if value is not None)


def _line(key: str, value: str) -> str:
    section, _, name = key.rpartition(".")
    return f"{section}: {{{name}: {value}}}\n" if section else f"{key}: {value}\n"


def value_of(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = getattr(config, name)
    return config
