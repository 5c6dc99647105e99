from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from marketpipe.ingestion.infrastructure.locks import UpdateLock
from marketpipe.shared_kernel.domain.errors import StateError, StoreBusyError
from tests.support.child_processes import LONGEST_SECONDS, PIPE, start

HOLD = """
import sys
from pathlib import Path
from marketpipe.ingestion.infrastructure.locks import UpdateLock
with UpdateLock(Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_holders_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    path = tmp_path / "state" / "lock"
    with UpdateLock(path).held(), pytest.raises(StoreBusyError, match="steps aside"), UpdateLock(path).held():
        pytest.fail("two at once")
    with UpdateLock(path).held():
        """Free again."""


def test_a_holder_that_is_killed_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with start(command, stdin=PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreBusyError), UpdateLock(path).held():
            pytest.fail("two at once")
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(LONGEST_SECONDS)

    with UpdateLock(path).held():
        """The lock died with its holder."""


def test_a_place_where_no_lock_can_be_is_an_error_of_our_own(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, not a folder")

    with pytest.raises(StateError, match="cannot lock"), UpdateLock(tmp_path / "state" / "lock").held():
        pytest.fail("no lock can lie there")
