"""Single values of the configuration: each reader takes what YAML or a caller gives, and refuses it with a reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from ipaddress import ip_address
from itertools import permutations
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

from attrs import NOTHING, Attribute, Converter, Factory, field

from marketpipe.shared_kernel.domain.errors import ConfigurationError, ValidationError, did_you_mean
from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.domain.symbol import Symbol, as_symbols
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate, as_trading_date

Latest = Literal["latest"]
LATEST: Final[Latest] = "latest"
"""Stands for the trading date of the newest session that is final."""
_HOST = re.compile(r"[a-z0-9._:-]+")

T = TypeVar("T")
Reader = Callable[[Any], T]


def setting(read: Reader[Any], default: Any = NOTHING, *, factory: Callable[[], Any] | None = None) -> Any:
    """A field that reads its value with ``read``; what that refuses is raised with the field's name."""

    def convert(value: Any, attribute: Attribute[Any]) -> Any:
        try:
            return read(value)
        except (ValidationError, ConfigurationError) as error:
            joint = "." if isinstance(error, _NestedError) else ": "
            raise _NestedError(f"{attribute.name}{joint}{error}") from error

    return field(default=Factory(factory) if factory else default, converter=Converter(convert, takes_field=True))


class _NestedError(ConfigurationError):
    """Its message begins with the name of a key, so that sections can put theirs before it."""


def text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValidationError(f"expected a word, not {value!r}")
    return value


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValidationError(f"expected true or false, not {value!r}")
    return value


def whole_number(least: int, most: int) -> Reader[int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValidationError(f"expected a whole number from {least} to {most}, not {value!r}")
        return value

    return read


def number(least: float, most: float) -> Reader[float]:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValidationError(f"expected a number from {least:g} to {most:g}, not {value!r}")
        return float(value)

    return read


def one_of(*allowed: Any) -> Reader[Any]:
    """Of words, or of the members of an enumeration by their values."""
    words = {str(item.value) if isinstance(item, Enum) else str(item): item for item in allowed}

    def read(value: Any) -> Any:
        if isinstance(value, Enum) and value in allowed:
            return value
        if not isinstance(value, str) or value not in words:
            raise ValidationError(f"{value!r} is not possible; {did_you_mean(str(value), words)}")
        return words[value]

    return read


def path(value: Any) -> Path:
    if not isinstance(value, str | Path) or not str(value).strip() or "\0" in str(value):
        raise ValidationError(f"expected a path, not {value!r}")
    try:
        str(value).encode()  # neither Parquet's nor DuckDB's library opens any other
        return Path(value).expanduser()
    except UnicodeEncodeError as error:
        raise ValidationError(f"{str(value)!r} cannot be written in UTF-8") from error
    except RuntimeError as error:
        raise ValidationError(f"{str(value)!r}: {error}") from error


def symbols(value: Any) -> tuple[Symbol, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise ValidationError(f"expected a list such as [AAPL, BRK.B], not {value!r}")
    return as_symbols(value)


def trading_date(value: Any) -> TradingDate:
    return as_trading_date(value)


def end_date(value: Any) -> TradingDate | Latest:
    return LATEST if value == LATEST else as_trading_date(value)


def timeframes(value: Any) -> tuple[Timeframe, ...]:
    if not isinstance(value, list | tuple):
        raise ValidationError(f"expected a list such as [5m, 1d], not {value!r}")
    parsed = {Timeframe.parse(item) for item in value}
    if Timeframe.MINUTE_1 in parsed:
        raise ValidationError("1m is what is stored anyway; name the timeframes to make from it")
    return tuple(sorted(parsed, key=lambda timeframe: timeframe.minutes))


def severities(value: Any) -> Mapping[str, Severity]:
    if not isinstance(value, Mapping):
        raise ValidationError(f"expected rule names with severities, not {value!r}")
    read = one_of(*Severity)
    return {text(rule): read(severity) for rule, severity in value.items()}


def section(kind: type[T]) -> Reader[T]:
    """A nested configuration, given as itself or as a mapping of its keys."""

    def read(value: Any) -> T:
        if isinstance(value, kind):
            return value
        if not isinstance(value, Mapping):
            raise ValidationError("expected keys and values")
        return kind(**value)

    return read


def base_url(value: Any) -> str:
    """What it refuses is not repeated: a URL may hold a password."""
    try:
        parts = urlsplit(text(value).strip())
        bare = parts.port != 0 and not (parts.query or parts.fragment or "@" in parts.netloc)
    except ValueError:
        raise ValidationError("expected a URL such as https://data.alpaca.markets") from None
    if not parts.hostname or not _HOST.fullmatch(parts.hostname) or not bare:
        raise ValidationError(f"expected a URL such as https://data.alpaca.markets, not {parts.scheme}://…")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        raise ValidationError(f"https is required: keys would travel openly to {parts.hostname}")
    return parts.geturl().rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def dates_in_order(start: TradingDate, end: TradingDate | Latest) -> None:
    if isinstance(end, TradingDate) and end < start:
        raise ConfigurationError(f"end: {end} lies before start {start}")


def folders_apart(folders: Mapping[str, Path]) -> None:
    """One inside another, or the same, would mix what must not be mixed. Raises ``ConfigurationError``."""
    places = {name: _place(name, path) for name, path in folders.items()}
    for (name, place), (other, above) in permutations(places.items(), 2):
        if place.is_relative_to(above):
            raise ConfigurationError(
                f"{name}: {folders[name]} lies in {other} {folders[other]}; give each a folder of its own"
            )


def _place(name: str, path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # a current folder that is gone, links in a circle
        raise ConfigurationError(f"{name}: {path} leads nowhere: {error}") from error
