"""What is in force, and where each value comes from: an option, the file, the environment, or a default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from marketpipe.config.calendar import HaltConfig
from marketpipe.config.classes import SECTIONS, PipelineConfig, StoreConfig, known_keys
from marketpipe.config.credentials import PAIRS, half_pairs, place_of_credentials
from marketpipe.config.file import read_yaml, with_executor_of
from marketpipe.config.places import url_of
from marketpipe.shared_kernel.domain.trading_date import CalendarException

ALPACA, HIDDEN = "alpaca", "set, not shown"


class Origin(StrEnum):
    OPTION = "option"
    FILE = "file"
    ENVIRONMENT = "environment"
    DOTENV = ".env"
    DEFAULT = "default"
    NOWHERE = "not set"


@frozen
class ValueInForce:
    """``value`` is made of text, numbers, lists and mappings; a path is absolute; None if there is none."""

    key: str
    value: object
    origin: Origin


def values_in_force(
    config: StoreConfig, file: Path | None, overrides: Mapping[str, Any], environment: Mapping[str, str]
) -> tuple[ValueInForce, ...]:
    """Return every key of ``config``, which was made from ``file`` and ``overrides``, in the order of the classes.

    Credentials come last if the provider needs them: whether they are there, never what they are. The same holds for
    the section of a provider that was installed as a plugin. Raises ``ConfigurationError`` for a file that cannot be
    read.
    """
    given = {} if file is None else with_executor_of(read_yaml(file), overrides)
    found = [ValueInForce(key, value, _origin(key, given, overrides)) for key, value in _values(config)]
    if isinstance(config, PipelineConfig):
        found += [ValueInForce(f"{config.provider}.{key}", HIDDEN, Origin.FILE) for key in config.provider_options]
    if getattr(config, "provider", None) == ALPACA:
        found += _credentials(environment, config.root / ".env")
    return tuple(found)


def _values(config: StoreConfig) -> Iterator[tuple[str, object]]:
    """Yield every key, those of sections as ``alpaca.feed``. A store alone has no provider, symbols and dates."""
    for key in known_keys(type(config)):
        if key not in SECTIONS:
            yield key, plain(getattr(config, key))
    for name, kind in SECTIONS.items():
        if (section := getattr(config, name, None)) is not None:
            yield from ((f"{name}.{key}", plain(getattr(section, key))) for key in known_keys(kind))
    if not isinstance(config, PipelineConfig):
        yield from ((key, None) for key in ("provider", "symbols", "start", "end"))


def _origin(key: str, given: Mapping[str, Any], overrides: Mapping[str, Any]) -> Origin:
    section, _, name = key.rpartition(".")
    inner = given.get(section) if section else given
    if key in overrides:
        return Origin.OPTION
    if isinstance(inner, Mapping) and name in inner:
        return Origin.FILE
    return Origin.NOWHERE if key in ("provider", "symbols", "start", "end") else Origin.DEFAULT


def _credentials(environment: Mapping[str, str], dotenv: Path) -> list[ValueInForce]:
    """Return the pair as one value, or as two if its halves come from two places, or one of them is not set."""
    places = place_of_credentials(environment, dotenv)
    if places is None:
        return [*_halves(environment, dotenv)] or [ValueInForce(" and ".join(PAIRS[0]), None, Origin.NOWHERE)]
    names = [" and ".join(places)] if len({*places.values()}) == 1 else [*places]
    origins = [Origin.DOTENV if is_file else Origin.ENVIRONMENT for is_file in places.values()]
    return [ValueInForce(name, HIDDEN, origin) for name, origin in zip(names, origins, strict=False)]


def _halves(environment: Mapping[str, str], dotenv: Path) -> Iterator[ValueInForce]:
    for name, other in half_pairs(environment, dotenv).items():
        yield ValueInForce(name, HIDDEN, Origin.ENVIRONMENT if environment.get(name, "").strip() else Origin.DOTENV)
        yield ValueInForce(other, None, Origin.NOWHERE)


def plain(value: Any) -> object:
    """Return a value of a configuration as text, numbers, lists and mappings."""
    match value:
        case Path():
            return url_of(value.absolute())
        case Enum():
            return str(value.value)
        case bool() | int() | float() | None:
            return value
        case Mapping():
            return {str(key): plain(inner) for key, inner in value.items()}
        case CalendarException() | HaltConfig():
            return {key: plain(inner) for key, inner in asdict(value, recurse=False).items()}
        case Sequence() if not isinstance(value, str):
            return [plain(inner) for inner in value]
    return str(value)
