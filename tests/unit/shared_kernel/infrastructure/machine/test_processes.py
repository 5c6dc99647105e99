from __future__ import annotations

import os
import sys
from pathlib import Path

from marketpipe.shared_kernel.infrastructure.machine.processes import REAL_PROCESSES
from tests.support.child_processes import start


def test_this_process_lives_and_its_start_stays() -> None:
    assert REAL_PROCESSES.number() == os.getpid()
    begun = REAL_PROCESSES.start_of(os.getpid())
    assert begun is not None
    assert begun == REAL_PROCESSES.start_of(os.getpid())


def test_of_a_process_that_is_gone_there_is_no_start() -> None:
    child = start([sys.executable, "-S", "-c", ""])
    child.communicate()
    assert REAL_PROCESSES.start_of(child.pid) is None


def test_the_place_of_a_process_has_three_marks_that_stay() -> None:
    host, boot, space = REAL_PROCESSES.place()
    assert [len(host), len(boot)] == [8, 8]
    assert int(space, 16) >= 0
    assert REAL_PROCESSES.place() == (host, boot, space)


def test_the_file_system_of_a_path_is_that_of_its_nearest_folder(tmp_path: Path) -> None:
    assert REAL_PROCESSES.file_system_of(tmp_path / "not there") == REAL_PROCESSES.file_system_of(tmp_path)
