from __future__ import annotations

from pathlib import Path

from marketpipe.storage.infrastructure.publishing.staged_files import NewFile, write_and_sync

NOON = 1_700_000_000_000_000_000
TWO_SECONDS = 2_000_000_000


def test_a_file_has_the_first_time_that_is_not_taken_and_else_the_last(tmp_path: Path) -> None:
    for taken in range(4):
        times = [(NOON + TWO_SECONDS * each) // 1000 for each in range(taken)]
        (staged,) = write_and_sync([NewFile(tmp_path / "x", b"x", NOON, times)])
        assert staged.modified_ns == NOON + TWO_SECONDS * min(taken, 2)
        staged.discard()
    assert list(tmp_path.iterdir()) == []
