"""Secrets, from the environment or from a .env file: keys for Alpaca, and what a plugin asks for."""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import field, frozen

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
    """Return the first complete pair of ``PAIRS`` in the environment; otherwise the first with the file ``dotenv``.

    Each variable of the environment wins over that of the file, so a pair may come from both; a logged warning says so.
    Raises ``ConfigurationError`` if there is none; it names the half that was found, and where. Logs a warning if other
    users of the machine can read the file.
    """
    if (found := _pair_in(environment)) is not None:
        return found
    both = _with_file(environment, dotenv)
    if (found := _pair_in(both)) is not None:
        _warn_of_readers(dotenv)
        _warn_of_two_places(environment, dotenv, both)
        return found
    halves = list(_halves(environment, dotenv, both))
    del environment, both  # a traceback with local variables must not show them
    names = " or ".join(" and ".join(pair) for pair in PAIRS)
    found_halves = f"{'; '.join(halves)}. Set" if halves else "set"
    raise ConfigurationError(
        f"no credentials for Alpaca: {found_halves} {names} in the environment or in {dotenv.absolute()}"
    )


def place_of_credentials(environment: Mapping[str, str], dotenv: Path) -> Mapping[str, bool] | None:
    """Return the names of the pair that ``find_credentials`` would take, each with whether it is in the file.

    None if there is none.
    """
    for source, is_alone in ((environment, True), (_with_file(environment, dotenv), False)):
        for names in PAIRS:
            if all(_text(source, name) for name in names):
                return {name: not is_alone and not _text(environment, name) for name in names}
    return None


def half_pairs(environment: Mapping[str, str], dotenv: Path) -> Mapping[str, str]:
    """Return each name of ``PAIRS`` that is set while the other of its pair is not, with that other."""
    return _alone(_with_file(environment, dotenv))


def find_secret(name: str, environment: Mapping[str, str], dotenv: Path) -> str:
    """Return the secret of a plugin that the environment has under ``name``; otherwise that of the file ``dotenv``.

    Raises ``ConfigurationError`` if there is none. Logs a warning if other users of the machine can read the file.
    """
    if found := _text(environment, name):
        return SecretText(found)
    if found := _text(_dotenv(dotenv), name):
        _warn_of_readers(dotenv)
        return SecretText(found)
    del environment
    raise ConfigurationError(f"the secret {name} is not set: set {name} in the environment or in {dotenv.absolute()}")


def _pair_in(source: Mapping[str, str | None]) -> Credentials | None:
    for names in PAIRS:
        found = [_text(source, name) for name in names]
        if all(found):
            return Credentials(*found)
    return None


def _text(source: Mapping[str, str | None], name: str) -> str:
    return (source.get(name) or "").strip()


def _with_file(environment: Mapping[str, str], dotenv: Path) -> dict[str, str | None]:
    """Return what the environment and the file have under the names of ``PAIRS``."""
    file = _dotenv(dotenv)
    names = (name for pair in PAIRS for name in pair)
    return {name: SecretText(_text(environment, name) or _text(file, name)) for name in names}


def _halves(environment: Mapping[str, str], dotenv: Path, both: Mapping[str, str | None]) -> Iterator[str]:
    for name, other in _alone(both).items():
        place = "the environment" if _text(environment, name) else str(dotenv.absolute())
        yield f"{name} is in {place}, but {other} is neither in the environment nor in {dotenv.absolute()}"


def _alone(both: Mapping[str, str | None]) -> dict[str, str]:
    pairs = (names for pair in PAIRS for names in (pair, pair[::-1]))
    return {name: other for name, other in pairs if _text(both, name) and not _text(both, other)}


def _warn_of_two_places(environment: Mapping[str, str], dotenv: Path, both: Mapping[str, str | None]) -> None:
    names = next(pair for pair in PAIRS if all(_text(both, name) for name in pair))
    if given := [name for name in names if _text(environment, name)]:
        (other,) = (name for name in names if name not in given)
        logger.warning(
            "%s is taken from the environment and %s from %s: do they belong together?", *given, other, dotenv
        )


def _warn_of_readers(file: Path) -> None:
    if file.stat().st_mode & OTHERS:
        logger.warning("%s has credentials in it and can be read by other users: run chmod 600 %s", file, file)


def _dotenv(file: Path) -> Mapping[str, str | None]:
    try:
        if not file.is_file():
            return {}
        from dotenv import dotenv_values  # here, because most stores have no such file

        return dotenv_values(file, interpolate=False)
    except OSError as error:
        raise ConfigurationError(f"{file.absolute()} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        problem = f"{error.encoding}, {error.reason} at byte {error.start}"
    # Outside the except block, and so not chained: the original error carries the bytes, which may be a secret.
    raise ConfigurationError(f"{file} cannot be read: it is not text ({problem})")
