"""Lists of symbols: files with one symbol a line, and the lists that a configuration names.

Wherever symbols are given, ``@tech`` stands for all symbols of the list ``tech`` in ``symbol_lists``, and
``@universe.txt`` for those of a file. Files are read for a configuration and for the command line only: a symbol that a
program passes on from its own users must not open files (docs/adr/0034).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from marketpipe.shared_kernel.domain.errors import ConfigurationError, ValidationError, did_you_mean
from marketpipe.shared_kernel.domain.symbol import Symbol, as_symbol, as_symbols, listed

SymbolLists = Mapping[str, tuple[Symbol, ...]]
MARK: Final = "@"
LARGEST_FILE: Final = 1_000_000
"""Bytes."""
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_COMMENT = re.compile(r"(?:^|\s)#.*")


def symbol_lists(value: Any, root: Path) -> SymbolLists:
    """Read the key ``symbol_lists``: names with symbols, or with the file that has them. Raises ``ValidationError``.

    The path of a file begins in ``root``.
    """
    if not isinstance(value, Mapping):
        raise ValidationError(f"expected names with symbols, such as {{tech: [AAPL, MSFT]}}, not {value!r}")
    return {_name(name): _listed(str(name), listed, root) for name, listed in value.items()}


def _name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValidationError(f"{name!r} is no name of a list: use letters, digits, - and _")
    return name


def _listed(name: str, value: Any, root: Path) -> tuple[Symbol, ...]:
    if not isinstance(value, list | tuple) and not (isinstance(value, str) and value.startswith(MARK)):
        raise ValidationError(f"{name}: expected a list such as [AAPL, MSFT] or a file such as '@tech.txt'")
    if not value:
        raise ValidationError(f"{name}: there is no symbol in it")
    try:
        return expanded(value, {}, root)
    except (ValidationError, ConfigurationError) as error:
        raise ValidationError(f"{name}: {error}") from error


def expanded(
    values: str | Symbol | Iterable[str | Symbol], lists: SymbolLists, root: Path | None = None
) -> tuple[Symbol, ...]:
    """Return the symbols with those of every ``@name``, sorted and without repetitions.

    ``root`` is where the paths of files begin; without it no file is read. Raises ``ValidationError`` for what is no
    symbol, ``ConfigurationError`` for a list that does not exist.
    """
    found = list[str | Symbol]()
    for value in listed(values):
        if isinstance(value, str) and value.startswith(MARK):
            found += _members(value.removeprefix(MARK), lists, root)
        else:
            found.append(value)
    return as_symbols(found)


def _members(name: str, lists: SymbolLists, root: Path | None) -> tuple[Symbol, ...]:
    if name in lists:
        return lists[name]
    if root is not None and (not lists or not _NAME.fullmatch(name) or os.path.exists(root / name)):
        return symbols_in(root, name)
    if not lists:
        raise ConfigurationError(f"{MARK}{name}: there is no such list; 'symbol_lists' in the configuration has none")
    raise ConfigurationError(f"{MARK}{name}: there is no such list; {did_you_mean(name, list(lists))}")


def symbols_in(root: Path, name: str) -> tuple[Symbol, ...]:
    """Read a file with one symbol a line; ``#`` begins a comment. Raises ``ConfigurationError`` with the line."""
    try:
        with (root / Path(name).expanduser()).open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ConfigurationError(f"{name}: larger than {LARGEST_FILE:,} bytes; it has to have one symbol a line")
        lines = content.decode("utf-8-sig").splitlines()
    except (OSError, RuntimeError, ValueError) as error:  # also a null character in the name, or an unknown user
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"the list of symbols {name!r} in {root.absolute()} cannot be read: {reason}"
        ) from error
    found = [_in_line(name, number, line) for number, line in enumerate(lines, 1)]
    symbols = as_symbols(symbol for symbol in found if symbol is not None)
    if not symbols:
        raise ConfigurationError(f"{name}: there is no symbol in it; it has to have one a line")
    return symbols


def _in_line(name: str, number: int, line: str) -> Symbol | None:
    text = _COMMENT.sub("", line).strip()
    try:
        return as_symbol(text) if text else None
    except ValidationError as error:
        raise ConfigurationError(f"{name}, line {number}: {error}") from error
