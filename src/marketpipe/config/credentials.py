"""Keys for Alpaca, from the environment or from a .env file."""

from __future__ import annotations

import logging
import stat
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen
from dotenv import dotenv_values

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.secret_text import SecretText

logger = logging.getLogger("marketpipe.config")
OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""Permission bits of everyone but the owner."""
PAIRS = (("ALPACA_KEY", "ALPACA_SECRET"), ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"))


def _secret(text: str) -> SecretText:
    return SecretText(text)


@frozen
class Credentials:
    """A key and its secret. Neither is ever shown: not in a repr, a log, an error, a dump or a file."""

    key: str = field(repr=False, converter=_secret)
    secret: str = field(repr=False, converter=_secret)


def find_credentials(environment: Mapping[str, str], dotenv: Path = Path(".env")) -> Credentials:
    """Return the first complete pair of ``PAIRS``: from the environment, otherwise from the file ``dotenv``.

    Raises ``ConfigurationError`` if there is none. Logs a warning if other users of the machine can read the file.
    """
    if (found := _pair_in(environment)) is not None:
        return found
    if (found := _pair_in(_dotenv(dotenv))) is not None:
        _warn_of_readers(dotenv)
        return found
    del environment  # a traceback with local variables must not show it
    names = " or ".join(" and ".join(pair) for pair in PAIRS)
    raise ConfigurationError(f"no credentials for Alpaca: set {names} in the environment or in {dotenv}")


def place_of_credentials(environment: Mapping[str, str], dotenv: Path) -> tuple[tuple[str, str], bool] | None:
    """Return the names of the pair that ``find_credentials`` would take, and whether it is in the file; or None."""
    for source, is_file in ((environment, False), (_dotenv(dotenv), True)):
        for names in PAIRS:
            if all((source.get(name) or "").strip() for name in names):
                return names, is_file
    return None


def _pair_in(source: Mapping[str, str | None]) -> Credentials | None:
    for names in PAIRS:
        found = [(source.get(name) or "").strip() for name in names]
        if all(found):
            return Credentials(*found)
    return None


def _warn_of_readers(file: Path) -> None:
    if file.stat().st_mode & OTHERS:
        logger.warning("%s has credentials in it and can be read by other users: run chmod 600 %s", file, file)


def _dotenv(file: Path) -> Mapping[str, str | None]:
    try:
        return dotenv_values(file, interpolate=False) if file.is_file() else {}
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        problem = f"{error.encoding}, {error.reason} at byte {error.start}"
    # Outside the except block, and so not chained: the original error carries the bytes, which may be a secret.
    raise ConfigurationError(f"{file} cannot be read: it is not text ({problem})")
