"""A process that is killed: what it had committed is there, what it had not is not, and the next one goes on."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from random import Random

import pytest

from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.store_inventory import ABSENT
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from tests.simulation.modelled_states import STATE, ModelledComputer
from tests.support import dying_recorder
from tests.support.checkpoints import CHECKED_AT as NOW
from tests.support.child_processes import run

SCOPE = IngestionScope("AAPL", TradingDate.parse("2024-01-02"), TradingDate.parse("2024-01-05"))


def run_until_killed(path: Path, moment: str) -> None:
    root = Path(__file__).parents[4]
    done = run([sys.executable, "-m", dying_recorder.__name__, str(path), moment], cwd=root)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize(
    ("moment", "known"),
    [("in-transaction", ["2024-01-02"]), ("after-commit", ["2024-01-02", "2024-01-03", "2024-01-04"])],
)
def test_a_killed_process_loses_nothing_committed_and_leaves_nothing_half_done(
    tmp_path: Path, moment: str, known: list[str]
) -> None:
    path = tmp_path / "marketpipe.sqlite"
    run_until_killed(path, moment)

    state = SQLiteState(path, "../data")

    records = state.checkpoints.between(Symbol("AAPL"), SCOPE.first, SCOPE.last)
    assert list(map(str, records)) == known
    (summary,) = state.statistics.summaries()
    assert (summary.complete, summary.bars) == (len(known), 390 * len(known))
    assert [job.state for job in state.jobs.latest(10)] == ["running"]
    state.jobs.open(SCOPE, NOW)
    assert [(job.state, job.finished_at) for job in state.jobs.latest(10)] == [
        ("running", None),
        ("interrupted", str(NOW)),
    ]
    state.close()


@pytest.mark.parametrize(("expected", "durable"), [(ABSENT, False), ("bb", True), ("bb", False)])
def test_a_power_loss_takes_no_record_of_a_removal_that_it_may_keep_and_none_that_is_to_be_durable(
    expected: str, *, durable: bool
) -> None:
    kept = set[frozenset[str]]()
    for loss in range(20):
        computer = ModelledComputer()
        machine, end = computer.process()
        state = SQLiteState(STATE, "../data", machine=machine)
        state.file_digests.settle({"quarantine/x.parquet": "aa"})
        state.file_digests.expect({"quarantine/x.parquet": expected}, durable=durable)
        end()
        computer.disk.sync_all()
        computer.databases.lose_power(Random(loss))
        again = SQLiteState(STATE, "../data", machine=computer.process()[0])
        kept.add(again.file_digests.below("quarantine/").get("quarantine/x.parquet", frozenset()))
        computer.close()
    assert (kept == {frozenset({"aa", expected})}) is (expected == ABSENT or durable)
