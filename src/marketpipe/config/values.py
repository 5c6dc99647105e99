"""Single values of the configuration.

Each reader takes what YAML or a caller gives, and returns what the configuration holds. It raises ``ValidationError``
with what was expected; ``setting`` puts the name of the field before that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from ipaddress import ip_address
from itertools import permutations
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

from attrs import NOTHING, Attribute, Converter, Factory, field

from marketpipe.config.places import EXAMPLES, place_of
from marketpipe.config.symbol_lists import MARK, expanded
from marketpipe.shared_kernel.domain.errors import ConfigurationError, ValidationError, did_you_mean
from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.domain.store_inventory import NO_MAPPING
from marketpipe.shared_kernel.domain.symbol import Symbol, as_symbols
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate, as_trading_date

Latest = Literal["latest"]
LATEST: Final[Latest] = "latest"
"""Means the trading date of the newest session that is final."""
LONGEST_LABEL: Final = 100
OVERNIGHT_FEEDS: Final = ("boats", "overnight")
_HOST = re.compile(r"[a-z0-9._:-]+")

T = TypeVar("T")
Reader = Callable[[Any], T]


def setting(read: Reader[Any], default: Any = NOTHING, *, factory: Callable[[], Any] | None = None) -> Any:
    """Return an attrs field whose value is converted by ``read``.

    If ``read`` refuses a value, ``ConfigurationError`` is raised with the name of the field.
    """
    return setting_by_others(lambda value, _: read(value), default, factory=factory)


def setting_by_others(
    read: Callable[[Any, Any], Any], default: Any = NOTHING, *, factory: Callable[[], Any] | None = None
) -> Any:
    """Return the same for a ``read`` whose second argument is the object, with the fields that come before this one."""

    def convert(value: Any, instance: Any, attribute: Attribute[Any]) -> Any:
        try:
            return read(value, instance)
        except (ValidationError, ConfigurationError) as error:
            joint = "." if isinstance(error, _NestedError) else ": "
            raise _NestedError(f"{attribute.name}{joint}{error}") from error

    converter = Converter(convert, takes_self=True, takes_field=True)
    return field(default=Factory(factory) if factory else default, converter=converter)


def place(default: Any, *schemes: str) -> Any:
    """Return an attrs field for the place of a file or folder, or a URL of one of the ``schemes``.

    A relative path begins in the field ``root``.
    """

    def read(value: Any, config: Any) -> Path:
        beyond = place_of(value, *schemes) if schemes and isinstance(value, str | Path) else None
        return Path(config.root) / location(value, *schemes) if beyond is None else beyond

    return setting_by_others(read, default)


class _NestedError(ConfigurationError):
    """An error whose message begins with the name of a key, so that a section can put its own name before that."""


_NestedError.__name__ = _NestedError.__qualname__ = ConfigurationError.__name__  # a traceback shows the public name
_NestedError.__module__ = ConfigurationError.__module__


def text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValidationError(f"expected text, not {value!r}")
    return value


def label(value: Any) -> str:
    """Read the value of a label in metrics: one line of text, short enough for every series to carry it."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > LONGEST_LABEL:
        raise ValidationError(f"expected a name of 1 to {LONGEST_LABEL} characters such as us-equities, not {value!r}")
    return value.strip()


def optional(read: Reader[T]) -> Reader[T | None]:
    """Return a reader that takes None, or null in a file, as the default."""
    return lambda value: None if value is None else read(value)


def textfile(value: Any) -> Path:
    """Read the path of a file for node_exporter's textfile collector, which reads only names that end in .prom."""
    path = location(value)
    if path.suffix != ".prom":
        raise ValidationError(f"expected a path that ends in .prom, as node_exporter reads no other, not {str(path)!r}")
    return path


def gateway_url(value: Any) -> str:
    """Read the http or https URL of a Pushgateway. A refused URL is not in the message: it may have a password."""
    wanted = "expected a URL such as http://127.0.0.1:9091, without a password, of ASCII characters and without spaces"
    try:
        parts = urlsplit(given := text(value).strip())
        bare = given.isascii() and given.isprintable() and " " not in given
        bare = bare and parts.port != 0 and not (parts.query or parts.fragment or "@" in parts.netloc)
    except ValueError:
        raise ValidationError(wanted) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not bare:
        raise ValidationError(wanted)
    return parts.geturl().rstrip("/")


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
    """Return a reader of one of some texts, or of one of some members of an enumeration by their values."""
    words = {str(item.value) if isinstance(item, Enum) else str(item): item for item in allowed}

    def read(value: Any) -> Any:
        if isinstance(value, Enum) and value in allowed:
            return value
        if not isinstance(value, str) or value not in words:
            raise ValidationError(f"{value!r} is not allowed; {did_you_mean(str(value), words)}")
        return words[value]

    return read


def feed(*allowed: str) -> Reader[str]:
    """Return a reader of the name of a feed. Feeds of the overnight window are refused with the reason."""
    read = one_of(*allowed)

    def read_feed(value: Any) -> str:
        if value in OVERNIGHT_FEEDS:
            raise ValidationError(
                f"{value!r} has the trades between 20:00 and 04:00 New York time, and sessions are stored from 04:00 "
                "to 20:00: every bar would be rejected. It is refused until there is a session for these hours; use "
                f"one of: {', '.join(allowed)}"
            )
        return str(read(value))

    return read_feed


def asof(value: Any) -> str:
    """Read the date of a symbol mapping: a date, or "-" for none."""
    return NO_MAPPING if value == NO_MAPPING else str(as_trading_date(value))


def location(value: Any, *schemes: str) -> Path:
    """Read the place of a folder or file: a local path; ``~`` is the home folder. ``schemes`` are those that a message
    offers besides.

    A location is a ``Path`` and no type of its own, because users take ``config.output_path`` as one. URLs are refused,
    as is a path that begins like one: pathlib turns s3://bucket into s3:/bucket, and a store in a local folder named
    "s3:" would look like success (docs/adr/0019).
    """
    if not isinstance(value, str | Path) or not str(value).strip() or "\0" in str(value):
        raise ValidationError(f"expected a path, not {value!r}")
    first = next(iter(Path(value).parts), "")
    if first.endswith(":"):  # only the scheme goes into the message: the rest of a URL may have a password in it
        besides = "".join(f" and at {EXAMPLES[scheme]}" for scheme in schemes)
        raise ValidationError(
            f"{first}//… is not supported: it can be in a local folder{besides}; "
            "write a local path such as data or /srv/marketpipe/data"
        )
    try:
        str(value).encode()  # neither Arrow nor DuckDB opens a path that is not valid UTF-8
        return Path(value).expanduser()
    except UnicodeEncodeError as error:
        raise ValidationError(f"{str(value)!r} cannot be written in UTF-8") from error
    except RuntimeError as error:
        raise ValidationError(f"{str(value)!r}: {error}") from error


def root_of_paths(value: Any) -> Path:
    """Read the folder in which relative paths begin: absolute, except for the current folder, which stays relative."""
    root = location(value)
    try:
        return root if root == Path() else root.absolute()
    except OSError as error:  # the current folder was deleted
        raise ValidationError(f"{root} cannot be resolved: {error}") from error


def root_folder(value: str | Path) -> Path:
    """Read the folder of a store that is given as an argument named root. Raises ``ConfigurationError``."""
    try:
        return location(value)
    except ValidationError as error:
        raise ConfigurationError(f"root: {error}") from error


def symbols(value: Any) -> tuple[Symbol, ...]:
    """Read one symbol, or several of them in any collection."""
    listed = _listed(value)
    is_text_of_many = isinstance(value, str) and "," in value
    if not listed or is_text_of_many or not all(isinstance(item, str | Symbol) for item in listed):
        raise ValidationError(f"expected a list such as [AAPL, BRK.B], not {value!r}")
    return as_symbols(listed)


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str | Symbol):
        return [value]
    return list(value) if isinstance(value, Iterable) and not isinstance(value, Mapping | bytes) else []


def named_symbols(value: Any, config: Any) -> tuple[Symbol, ...]:
    """Read symbols in which ``@name`` stands for a list of ``config.symbol_lists`` or a file."""
    listed = _listed(value)
    if any(isinstance(item, str) and item.startswith(MARK) for item in listed):
        return expanded(listed, config.symbol_lists, config.root)
    return symbols(listed or value)


def date_or_latest(value: Any) -> TradingDate | Latest:
    return LATEST if isinstance(value, str) and value == LATEST else as_trading_date(value)


def timeframes(value: Any) -> tuple[Timeframe, ...]:
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise ValidationError(f"expected a list such as [5m, 1d], not {value!r}")
    parsed = {Timeframe.parse(item) for item in value}
    if Timeframe.MINUTE_1 in parsed:
        raise ValidationError("1m bars are always stored; name only the timeframes to aggregate them to")
    return tuple(sorted(parsed, key=lambda timeframe: timeframe.minutes))


def severities(value: Any) -> Mapping[str, Severity]:
    if not isinstance(value, Mapping):
        raise ValidationError(f"expected rule names with severities, not {value!r}")
    read = one_of(*Severity)
    return {text(rule): read(severity) for rule, severity in value.items()}


def section(kind: type[T]) -> Reader[T]:
    """Return a reader of a nested configuration, given as an instance or as a mapping of its keys."""

    def read(value: Any) -> T:
        if isinstance(value, kind):
            return value
        if not isinstance(value, Mapping):
            raise ValidationError("expected keys and values")
        return kind(**value)

    return read


def base_url(value: Any) -> str:
    """Read an https URL without query. A refused URL is not in the message: it may have a password in it."""
    try:
        parts = urlsplit(text(value).strip())
        bare = parts.port != 0 and not (parts.query or parts.fragment or "@" in parts.netloc)
    except ValueError:
        raise ValidationError("expected a URL such as https://data.alpaca.markets") from None
    if not parts.hostname or not _HOST.fullmatch(parts.hostname) or not bare:
        raise ValidationError(f"expected a URL such as https://data.alpaca.markets, not {parts.scheme}://…")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValidationError(f"https is required: http would send the keys unencrypted to {parts.hostname}")
    return parts.geturl().rstrip("/")


def scheduler(value: Any) -> str:
    """Read the address of a Dask scheduler. A refused one is not in the message: it may have a password."""
    wanted = "expected an address such as tls://10.0.0.5:8786 or tcp://127.0.0.1:8786"
    try:
        parts = urlsplit(text(value).strip())
        bare = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
        if parts.scheme not in ("tcp", "tls") or not parts.hostname or not _HOST.fullmatch(parts.hostname):
            bare = False
        if not bare or not parts.port:
            raise ValidationError(wanted)
    except ValueError:
        raise ValidationError(wanted) from None
    return parts.geturl()


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def folders_apart(folders: Mapping[str, Path]) -> None:
    """Check that no folder is another one or inside it. Raises ``ConfigurationError``.

    Each folder is scanned as a whole: files of one in another would be taken for foreign or damaged files.
    """
    places = {name: _resolved(name, path) for name, path in folders.items()}
    for (name, place), (other, above) in permutations(places.items(), 2):
        if f"{place}/".startswith(f"{str(above).rstrip('/')}/"):
            raise ConfigurationError(
                f"{name}: {folders[name]} is inside {other} {folders[other]}; give each a folder of its own"
            )


def _resolved(name: str, path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # the current folder was deleted, or links form a circle
        raise ConfigurationError(f"{name}: {path} cannot be resolved: {error}") from error
