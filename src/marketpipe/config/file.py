"""YAML and overrides into a configuration; every error names the key, where it stands and the nearest valid key."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from marketpipe.config.classes import SECTIONS, PipelineConfig, StoreConfig, known_keys
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.suggestion import did_you_mean

LARGEST_FILE = 1_000_000
COMMAND_LINE = "the command line"
_SECRET = re.compile(r"secret|password|token|(?:^|_)key(?:$|_)|key_id", re.IGNORECASE)


def load_config(file: Path | None, overrides: Mapping[str, Any] | None = None) -> PipelineConfig:
    """``overrides`` are values by key, ``alpaca.feed`` for one in a section; they win over the file.

    Raises ``ConfigurationError``; nothing but the file is touched.
    """
    given = _read(file) if file else {}
    source = str(file) if file else COMMAND_LINE
    merged = _merged(given, overrides or {})
    _check_keys(merged, source)
    options = merged.pop(str(merged.get("provider")), {}) if _names_foreign_section(merged) else {}
    if missing := [key for key in ("provider", "symbols", "start", "end") if merged.get(key) is None]:
        raise ConfigurationError(f"{source}: missing {', '.join(missing)}")
    return _build(PipelineConfig, {**merged, "provider_options": options}, source, overrides or {})


def load_store_config(file: Path | None) -> StoreConfig:
    """What is needed to read a store; without a file, the defaults: the store of the current folder."""
    return load_config(file) if file else StoreConfig()


def _build(
    kind: type[PipelineConfig], values: Mapping[str, Any], source: str, overrides: Mapping[str, Any]
) -> PipelineConfig:
    try:
        return kind(**values)
    except ConfigurationError as error:
        key = str(error).partition(":")[0]
        raise ConfigurationError(f"{COMMAND_LINE if key in overrides else source}: {error}") from error


def _merged(given: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(given)
    for key, value in overrides.items():
        section, _, name = key.rpartition(".")
        if section:
            merged[section] = {**(merged.get(section) or {}), name: value}
        else:
            merged[key] = value
    return {key: value for key, value in merged.items() if value is not None or key not in SECTIONS}


def _names_foreign_section(given: Mapping[str, Any]) -> bool:
    provider = given.get("provider")
    return isinstance(provider, str) and provider not in SECTIONS and provider in given


def _check_keys(given: Mapping[str, Any], source: str) -> None:
    known = known_keys(PipelineConfig)
    foreign = [str(given.get("provider"))] if _names_foreign_section(given) else []
    for key, value in given.items():
        _check_key(key, [*known, *foreign], source, "")
        if key in SECTIONS and isinstance(value, Mapping):
            for inner in value:
                _check_key(inner, known_keys(SECTIONS[key]), source, f"{key}.")


def _check_key(key: object, known: list[str], source: str, prefix: str) -> None:
    if key in known:
        return
    if _SECRET.search(str(key)):
        raise ConfigurationError(
            f"{source}: {prefix}{key}: credentials do not belong in a file that is shared; remove it, and set "
            "ALPACA_KEY and ALPACA_SECRET in the environment or in .env"
        )
    raise ConfigurationError(f"{source}: unknown key {prefix + str(key)!r}; {did_you_mean(str(key), known)}")


def _read(file: Path) -> dict[str, Any]:
    try:
        content = file.read_bytes()
        if len(content) > LARGEST_FILE:
            raise ConfigurationError(f"{file}: larger than {LARGEST_FILE:,} bytes")
        found = yaml.load(content, _StrictLoader)
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigurationError(f"{file}: not valid YAML: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"{file}: expected keys and values, such as 'provider: synthetic'")
    return found


class _StrictLoader(yaml.SafeLoader):
    """YAML 1.2's idea of plain words: on, off, yes and no stay words, dates stay text; no alias, no key twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML declares it
        first: [(tag, form) for tag, form in resolvers if not tag.endswith((":bool", ":timestamp"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not supported")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if repeated := [key for key in keys if not isinstance(key, Hashable) or keys.count(key) > 1]:
            raise yaml.YAMLError(f"the key {repeated[0]!r} stands there twice or is no word")
        return super().construct_mapping(node, deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$", re.IGNORECASE), list("tTfF")
)
