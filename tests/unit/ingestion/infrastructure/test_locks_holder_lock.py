from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.ingestion.infrastructure.locks import HolderLock
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.trading_date import SessionHours, TradingDate
from tests.support.builders import day
from tests.support.checkpoints import CHECKED_AT as NOW
from tests.support.child_processes import LONGEST_SECONDS, PIPE, start

HOLD = """
import sys
from pathlib import Path
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_date import SessionHours
state, day = SQLiteState(Path(sys.argv[1]), "../data"), TradingDate.parse("2024-01-02")
now, until = Timestamp.parse("2025-06-02T12:00:00Z"), Timestamp.parse("2099-06-02T12:00:00Z")
state.jobs.open(IngestionScope(["AAPL"], day, day), now)
state.leases.take({SymbolDay(Symbol("AAPL"), day): SessionHours.EXTENDED}, None, now, until)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_killed_process_has_no_leases_and_its_job_is_interrupted(tmp_path: Path) -> None:
    path, first = tmp_path / "marketpipe.sqlite", TradingDate.parse("2024-01-02")
    wanted, scope = {day("AAPL", "2024-01-02"): SessionHours.EXTENDED}, IngestionScope(["AAPL"], first, first)
    command = [sys.executable, "-c", HOLD, str(path)]
    with start(command, stdin=PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        state = SQLiteState(path, "../data")
        state.jobs.open(scope, NOW)
        alive = state.leases.take(wanted, None, NOW, NOW).busy
        jobs_beside_it = [job.state for job in state.jobs.latest(10)]
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(LONGEST_SECONDS)

    assert alive == set(wanted)
    assert jobs_beside_it == ["running", "running"]
    assert state.leases.take(wanted, None, NOW, NOW).ours == set(wanted)
    state.jobs.open(scope, NOW)
    assert [job.state for job in state.jobs.latest(10)] == ["running", "interrupted", "interrupted"]
    state.close()
    assert list(tmp_path.glob("*holder*")) == []


def test_an_unknown_name_is_dead_and_gets_no_file(tmp_path: Path) -> None:
    assert not HolderLock(tmp_path / "state").is_alive("unknown")
    assert list(tmp_path.iterdir()) == []


def test_a_holder_lives_from_its_first_use_until_it_is_closed(tmp_path: Path) -> None:
    one, other = HolderLock(tmp_path / "state"), HolderLock(tmp_path / "state")

    name = one.name()
    assert (one.name(), one.is_alive(name), other.is_alive(name)) == (name, True, True)
    one.close()

    assert (one.is_alive(name), other.is_alive(name)) == (False, False)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, not a folder")

    with pytest.raises(OSError, match=r"File exists|Not a directory"):
        HolderLock(tmp_path / "state" / "marketpipe.sqlite").name()


def test_a_pipe_in_the_place_of_a_holder_is_no_living_process_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "marketpipe.sqlite.holder-7-x")

    assert not HolderLock(tmp_path / "marketpipe.sqlite").is_alive("7-x")
