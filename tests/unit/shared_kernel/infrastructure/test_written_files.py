from __future__ import annotations

import os
from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.infrastructure.written_files import NO_PLACES, OwnPlaces, checked_target


@pytest.mark.parametrize(
    "place", ["data", "data/deep/new.csv", "link/new.csv", "s.sqlite", "s.sqlite-wal", "s.sqlite.lock"]
)
def test_what_belongs_to_a_store_is_refused(place: str, tmp_path: Path) -> None:
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "data")
    own = OwnPlaces((tmp_path / "data",), (tmp_path / "s.sqlite",))

    with pytest.raises(ConfigurationError, match="is inside the store"):
        checked_target(tmp_path / place, own, overwrite=True)


def test_the_settings_of_a_store_are_never_replaced_under_whatever_name(tmp_path: Path) -> None:
    own = OwnPlaces(settings=(tmp_path / "marketpipe.yaml",))
    (tmp_path / "marketpipe.yaml").touch()
    (tmp_path / "link.csv").symlink_to("marketpipe.yaml")

    for name in ("marketpipe.yaml", "link.csv"):
        with pytest.raises(ConfigurationError, match="has the settings of the store"):
            checked_target(tmp_path / name, own, overwrite=True)
    assert checked_target(tmp_path / "marketpipe.yaml.csv", own, overwrite=False)


def test_files_beside_the_store_and_its_state_are_free(tmp_path: Path) -> None:
    own = OwnPlaces((tmp_path / "data",), (tmp_path / "s.sqlite",))

    for name in ("data.csv", "new.csv", "other.sqlite"):
        assert checked_target(tmp_path / name, own, overwrite=False) == Path(os.path.realpath(tmp_path / name))


@pytest.mark.parametrize("place", ["pipe", ".", "none/new.csv", "a\0b", "a" * 300])
def test_what_is_no_file_is_never_replaced(place: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(ConfigurationError, match=r"not a file|no folder|cannot be written"):
        checked_target(tmp_path / place, NO_PLACES, overwrite=True)
