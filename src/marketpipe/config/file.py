"""Read a configuration from YAML and overrides.

Every error names the key, the file or command line that has it, and the most similar valid key. YAML is read strictly:
a configuration must mean to MarketPipe what it means to its reader.
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Mapping
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from marketpipe.config.classes import DASK, SECTIONS, PipelineConfig, StoreConfig, known_keys
from marketpipe.shared_kernel.domain.errors import ConfigurationError, did_you_mean

LARGEST_FILE = 1_000_000
"""Bytes."""
COMMAND_LINE = "the command line"
USUAL_FILE = "marketpipe.yaml"
"""The configuration that is taken from the folder of a store if none is named."""
CONFIG_VARIABLE, ROOT_VARIABLE = "MARKETPIPE_CONFIG", "MARKETPIPE_ROOT"
"""What names the configuration and the folder of the store if a program does not."""
KEYS_OF_DASK = frozenset({"scheduler", "insecure_scheduler"})
_SECRET = re.compile(r"secret|password|token|(?:^|[_-])key(?:$|[_-])|key_id|api_?key", re.IGNORECASE)


def load_config(
    file: str | Path | None,
    overrides: Mapping[str, Any] | None = None,
    *,
    root: str | Path | None = None,
    origin: str = COMMAND_LINE,
    origins: Mapping[str, str] = MappingProxyType({}),
) -> PipelineConfig:
    """Return the configuration of ``file`` with ``overrides``, which are values by key and win over the file.

    The key of a value in a section is written ``alpaca.feed``. Without a file all values come from ``overrides``.
    ``root`` is the folder in which the relative paths of the configuration begin; without it, that of the key ``root``,
    or the current folder. The path ``file`` itself always begins in the current folder. ``origin`` is what errors call
    the place where the overrides were given, except those keys that ``origins`` has. Raises ``ConfigurationError``.
    Only the file is read; nothing is written.
    """
    overrides = {**(overrides or {}), **({} if root is None else {"root": root})}
    given = {} if file is None else read_yaml(Path(file))
    source = origin if file is None else str(file)
    origins = {**dict.fromkeys(overrides, origin), **origins}
    merged = _merged(given, overrides, source)
    _check_keys(merged, source, origins)
    name = str(merged.get("provider"))
    options = _section(merged.pop(name), f"{source}: {name}") if _has_plugin_section(merged) else {}
    if missing := [key for key in ("provider", "symbols", "start", "end") if merged.get(key) is None]:
        raise ConfigurationError(f"{source}: missing {', '.join(missing)}")
    try:
        merged["read_from"] = None if file is None else Path(os.path.abspath(file))
        return PipelineConfig(**merged, provider_options=options)
    except ConfigurationError as error:
        key = str(error).partition(":")[0]
        raise ConfigurationError(f"{_origin(key, source, origins)}: {error}") from error


def file_of_environment(environment: Mapping[str, str]) -> str | None:
    """Return the configuration that MARKETPIPE_CONFIG names; None if it is not set.

    Raises ``ConfigurationError``, which names the variable, if there is no such file.
    """
    file = environment.get(CONFIG_VARIABLE)
    if file and not os.path.exists(file):
        raise ConfigurationError(f"{CONFIG_VARIABLE}: there is no file {os.path.abspath(file)}")
    return file or None


def usual_file(root: Path | None = None) -> Path | None:
    """Return the file marketpipe.yaml in ``root`` or the current folder; None if there is none."""
    file = Path(USUAL_FILE) if root is None else root / USUAL_FILE
    return file if os.path.isfile(file) else None


def load_store_config(file: str | Path | None, *, root: str | Path | None = None) -> StoreConfig:
    """Return what is needed to read a store; without a file, that of the store in ``root`` or the current folder."""
    if file is not None:
        return load_config(file, root=root)
    return StoreConfig() if root is None else StoreConfig(root=Path(root))


def _origin(key: str, source: str, origins: Mapping[str, str]) -> str:
    return origins.get(key) or origins.get(key.partition(".")[0], source)


def _merged(given: Mapping[str, Any], overrides: Mapping[str, Any], source: str) -> dict[str, Any]:
    merged = dict(with_executor_of(given, overrides))
    for key, value in overrides.items():
        section, _, name = key.rpartition(".")
        if section:
            merged[section] = {**_section(merged.get(section), f"{source}: {section}"), name: value}
        else:
            merged[key] = value
    # A section without keys, such as a line "alpaca:" alone, is null in YAML and means its defaults.
    return {key: value for key, value in merged.items() if value is not None or key not in SECTIONS}


def with_executor_of(given: Mapping[str, Any], overrides: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a file gives, without its keys of Dask if the overrides choose another executor."""
    if overrides.get("executor") in (None, DASK):
        return given
    return {key: value for key, value in given.items() if key not in KEYS_OF_DASK}


def _section(value: Any, place: str) -> Mapping[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise ConfigurationError(f"{place}: expected keys and values")
    return value or {}


def _has_plugin_section(given: Mapping[str, Any]) -> bool:
    """Return whether there is a section with the name of the provider, for a provider that is not built in."""
    provider = given.get("provider")
    return isinstance(provider, str) and provider not in known_keys(PipelineConfig) and provider in given


def _check_keys(given: Mapping[str, Any], source: str, origins: Mapping[str, str]) -> None:
    known = known_keys(PipelineConfig)
    plugin = [str(given.get("provider"))] if _has_plugin_section(given) else []
    for key, value in given.items():
        _check_key(key, [*known, *plugin], _origin(str(key), source, origins), "")
        if key in SECTIONS and isinstance(value, Mapping):
            for inner in value:
                origin = _origin(f"{key}.{inner}", source, origins)
                _check_key(inner, known_keys(SECTIONS[key]), origin, f"{key}.")


def _check_key(key: object, known: list[str], source: str, prefix: str) -> None:
    if key in known:
        return
    if _SECRET.search(str(key)):
        raise ConfigurationError(
            f"{source}: {prefix}{key}: credentials do not belong in a file that is shared; remove it, and set "
            "ALPACA_KEY and ALPACA_SECRET in the environment or in .env"
        )
    raise ConfigurationError(f"{source}: unknown key {prefix + str(key)!r}; {did_you_mean(str(key), known)}")


def read_yaml(file: Path) -> dict[str, Any]:
    """Return the keys and values of a file, unchecked. Raises ``ConfigurationError`` if it cannot be read as YAML."""
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ConfigurationError(f"{file}: larger than {LARGEST_FILE:,} bytes")
        found = yaml.load(BytesIO(content), _StrictLoader)  # given text, its errors would quote a line: maybe a secret
    except OSError as error:
        raise ConfigurationError(f"{file.absolute()}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigurationError(f"{file}: not valid YAML: {_problem_of(error)}") from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"{file}: expected keys and values, such as 'provider: synthetic'")
    return found


def _problem_of(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())[:300]


class _StrictLoader(yaml.SafeLoader):
    """Plain values as in YAML 1.2: on, off, yes and no are text, and so are dates and times of day.

    Aliases, tags and repeated keys are errors: an alias can make a small file huge, a tag can create objects, and of
    two equal keys one would be ignored silently.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML declares it
        first: [(tag, form) for tag, form in resolvers if tag.endswith(":null")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.tag is not None:
            raise _error("aliases (*name) and tags (!name) are not supported", event)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable) or key in seen:
                raise _error(f"the key {key!r} is repeated or is not text", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _error(problem: str, node: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


for _tag, _form, _first in (
    ("bool", r"(?-i:true|True|false|False)", "tTfF"),  # TRUE is a symbol
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?|[-+]?\.inf|\.nan", "-+.0123456789"),
):
    _StrictLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_form})$", re.IGNORECASE), list(_first)
    )
