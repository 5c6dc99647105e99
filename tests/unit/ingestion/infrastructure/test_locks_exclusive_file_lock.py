from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from marketpipe.ingestion.infrastructure.locks import ExclusiveFileLock
from marketpipe.shared_kernel.domain.errors import StateError, StoreBusyError
from tests.support.child_processes import LONGEST_SECONDS, PIPE, start

HOLD = """
import sys
from pathlib import Path
from marketpipe.ingestion.infrastructure.locks import ExclusiveFileLock
with ExclusiveFileLock(Path(sys.argv[1]), waits=False).acquired():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_ends_with_its_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with start(command, stdin=PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreBusyError), ExclusiveFileLock(path, waits=False).acquired():
            pytest.fail("two at once")
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(LONGEST_SECONDS)

    with ExclusiveFileLock(path, waits=False).acquired():
        """The lock died with its holder."""


def test_a_lock_that_cannot_be_made_is_a_state_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, not a folder")

    with (
        pytest.raises(StateError, match="cannot lock"),
        ExclusiveFileLock(tmp_path / "state" / "lock", waits=False).acquired(),
    ):
        pytest.fail("no lock can be made there")
