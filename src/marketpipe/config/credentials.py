from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen
from dotenv import dotenv_values

from marketpipe.shared_kernel.domain.errors import ConfigurationError

PAIRS = (("ALPACA_KEY", "ALPACA_SECRET"), ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"))


@frozen
class Credentials:
    """Never shown: not in a repr, a log, an error or a file."""

    key: str = field(repr=False)
    secret: str = field(repr=False)


def find_credentials(environment: Mapping[str, str], dotenv: Path = Path(".env")) -> Credentials:
    """From the environment first, then from ``dotenv``. Raises ``ConfigurationError`` where there is no whole pair."""
    for source in (environment, _dotenv(dotenv)):
        for key, secret in PAIRS:
            found = [(source.get(name) or "").strip() for name in (key, secret)]
            if all(found):
                return Credentials(*found)
    names = " or ".join(" and ".join(pair) for pair in PAIRS)
    raise ConfigurationError(f"no credentials for Alpaca: set {names} in the environment or in {dotenv}")


def _dotenv(file: Path) -> Mapping[str, str | None]:
    try:
        return dotenv_values(file, interpolate=False) if file.is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error
