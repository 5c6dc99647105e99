from __future__ import annotations

import contextlib
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from marketpipe.plugin_skeleton import write_plugin
from marketpipe.shared_kernel.domain.errors import ConfigurationError, StorageError


def test_every_file_of_the_package_is_written_and_named(tmp_path: Path) -> None:
    made = write_plugin("acme_eu", tmp_path / "deep" / "package")
    files = sorted(str(path.relative_to(made.folder)) for path in made.folder.rglob("*") if path.is_file())
    assert files == sorted(made.files)
    assert "src/marketpipe_acme_eu/client.py" in files


def test_names_are_those_of_the_provider_and_nothing_is_left_to_fill_in(tmp_path: Path) -> None:
    made = write_plugin("acme_eu", tmp_path / "package")
    texts = {file: (made.folder / file).read_text() for file in made.files}
    project = tomllib.loads(texts["pyproject.toml"])["project"]
    assert project["name"] == "marketpipe-acme-eu"
    assert project["entry-points"]["marketpipe.providers"] == {"acme_eu": "marketpipe_acme_eu:make_acme_eu"}
    assert "class AcmeEuClient(BaseApiClient)" in texts["src/marketpipe_acme_eu/client.py"]
    assert [file for file, text in texts.items() if "$" in text] == []


def test_without_a_folder_it_is_named_after_the_provider(tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        assert write_plugin("acme_eu").folder == Path("marketpipe-acme-eu")
    assert (tmp_path / "marketpipe-acme-eu" / "pyproject.toml").is_file()


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    assert write_plugin("acme", tmp_path).folder == tmp_path


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        *((name, "cannot be the name of a provider") for name in ("", "Acme", "9to5", "a-b", "a b", "../x", "a__b")),
        *((name, "cannot be the name of a provider") for name in ("_a", "a_", "é", "a\n", "a" * 41)),
        *((name, "is a word of Python or the name of a module") for name in ("import", "class", "json", "pytest")),
        ("marketpipe", "is a word of Python or the name of a module that the package uses"),
        ("marketpipe_acme", "would be marketpipe_marketpipe_acme: leave out the first word"),
        ("alpaca", r"'alpaca' exists already \(Alpaca Market Data API"),
        ("symbols", "is a key of the configuration"),
        ("calendar", "is a key of the configuration"),
    ],
)
def test_a_name_that_no_provider_can_have_is_refused(tmp_path: Path, name: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        write_plugin(name, tmp_path / "package")
    assert list(tmp_path.iterdir()) == []


def test_a_provider_may_be_called_as_an_installed_package_is(tmp_path: Path) -> None:
    assert find_spec("httpx")
    assert write_plugin("httpx", tmp_path / "package").name == "httpx"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for folder in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ConfigurationError, match="is not an empty folder: name another one with --folder"):
            write_plugin("acme", folder)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/package.* cannot be "):
        write_plugin("acme", tmp_path / "file" / "package")
