"""python -m tests.support.dying_recorder FILE MOMENT: record checkpoints and die in a transaction or after it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from tests.support.checkpoints import CHECKED_AT as NOW
from tests.support.checkpoints import answer, record


class Deadly(int):
    """A value that kills the process when SQLite adapts it: after earlier rows were written, before the commit."""

    def __conform__(self, _: object) -> int:
        die()
        return int(self)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(path: Path, moment: str) -> None:
    state = SQLiteState(path, "../data")
    state.jobs.open(IngestionScope("AAPL", TradingDate.parse("2024-01-02"), TradingDate.parse("2024-01-05")), NOW)
    record(state, [answer("AAPL", "2024-01-02")])
    rows = Deadly(390) if moment == "in-transaction" else 390
    record(state, [answer("AAPL", "2024-01-03"), answer("AAPL", "2024-01-04", rows=rows)])
    die()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
