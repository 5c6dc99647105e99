"""Checks the name and the folder of a new package, and writes its files."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Final

from attrs import frozen

from marketpipe.config.classes import PipelineConfig, known_keys
from marketpipe.provider_registry import known_providers
from marketpipe.shared_kernel.domain.errors import ConfigurationError, StorageError

TEMPLATES: Final = Path(__file__).parent
FILES: Final[Mapping[str, str]] = {
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "README.md.txt",
    "src/marketpipe_$name/__init__.py": "init.py.txt",
    "src/marketpipe_$name/client.py": "client.py.txt",
    "src/marketpipe_$name/py.typed": "py.typed.txt",
    "tests/test_contract.py": "test_contract.py.txt",
}
"""The template of each file of the package."""
LONGEST_NAME: Final = 40
PREFIX: Final = "marketpipe_"
"""What the name of the module begins with: so a provider may be called as its SDK, which may be installed."""
IMPORTED: Final = frozenset({"marketpipe", "pytest"})
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*", re.ASCII)


@frozen
class NewPlugin:
    """What was written: the ``folder`` of the package and its ``files``, relative to the folder."""

    name: str
    folder: Path
    files: tuple[str, ...]


def write_plugin(name: str, folder: Path | None = None) -> NewPlugin:
    """Write the package of a provider called ``name`` into ``folder``, by default ``marketpipe-NAME`` here.

    Raises ``ConfigurationError`` for a name that no provider can have and for a folder that is not empty, before
    anything is written; ``StorageError`` if the files cannot be written.
    """
    _check_name(name)
    place = folder or Path(f"marketpipe-{name.replace('_', '-')}")
    _check_folder(place)
    words = {
        "name": name,
        "Name": name.title().replace("_", ""),
        "NAME": name.upper(),
        "package": f"marketpipe-{name.replace('_', '-')}",
    }
    written = []
    for path, template in FILES.items():
        written.append(Template(path).substitute(words))
        text = Template((TEMPLATES / template).read_text("utf-8")).substitute(words)
        _write(place / written[-1], text)
    return NewPlugin(name, place, tuple(written))


def _check_name(name: str) -> None:
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot be the name of a provider: write small letters, digits and single underscores, and begin "
            f"with a letter, such as 'acme' or 'acme_eu' (at most {LONGEST_NAME} characters)"
        )
    if name in (installed := known_providers()):
        raise ConfigurationError(f"a provider {name!r} exists already ({installed[name]}): choose another name")
    if name in known_keys(PipelineConfig):
        raise ConfigurationError(
            f"{name!r} is a key of the configuration, and a provider's section bears its name: choose another name"
        )
    if keyword.iskeyword(name) or name in sys.stdlib_module_names or name in IMPORTED:
        raise ConfigurationError(
            f"{name!r} is a word of Python or the name of a module that the package uses: choose another name, such as "
            f"'{name}_data'"
        )
    if name.startswith(PREFIX):
        raise ConfigurationError(f"the package of {name!r} would be {PREFIX}{name}: leave out the first word")


def _check_folder(folder: Path) -> None:
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigurationError(f"{folder} exists and is not an empty folder: name another one with --folder")
    except OSError as error:
        raise StorageError(f"{folder} cannot be read: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error
