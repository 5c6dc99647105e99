"""Mistakes in what commands promise beyond stored bars: locks, audits, drops, quarantine, pauses, repeated answers."""

from __future__ import annotations

from typing import Final

from tests.simulation.mutants.attacks import updates
from tests.simulation.mutants.mutant import Mutant, change
from tests.simulation.mutants.telling import told
from tests.simulation.traits import SymbolTraits

OFFICIAL: Final = "storage/infrastructure/official/official_files.py"
LOCK: Final = "storage/domain/dataset_lock.py"
RATE: Final = "integration/infrastructure/rate_limits/rate_limiter.py"
LEASES: Final = "ingestion/application/leases.py"
STAGED: Final = "storage/infrastructure/publishing/staged_files.py"
ARRIVED: Final = "storage/infrastructure/publishing/arrived_days.py"
MANAGER: Final = "storage/infrastructure/partition_manager.py"
COMPARER: Final = "storage/infrastructure/reading/bar_comparer.py"
DROPPING: Final = "dropping.py"
RECOVERY: Final = "ingestion/application/recovery.py"
CHECKPOINT: Final = "ingestion/domain/ingestion_checkpoint.py"
COORDINATOR: Final = "ingestion/application/ingestion_coordinator.py"
FRESHNESS: Final = "storage/infrastructure/aggregates/year_freshness.py"
CHECKER: Final = "storage/application/integrity_checker.py"

TWO_UPDATES: Final = """
    2024-03-06 01:31 update
    2024-03-07 01:31 update
"""

OF_PROMISES: Final = (
    Mutant(
        "an official day that the provider has taken back stays",
        change(
            OFFICIAL,
            "others = base.filter(pa.array(~np.isin(times_of(base), answer.answered)))",
            "others = base.filter(pa.array(~np.isin(times_of(base), times_of(answer.bars))))",
        ),
        ("official",),
        told("""
            2024-03-06 01:31 update
            official absent symbol=AAPL date=2024-03-05
            2024-03-07 01:31 update
        """),
    ),
    Mutant(
        "a lock has no aggregates",
        change(
            LOCK,
            "(StoreArea.DATA, StoreArea.AGGREGATES, StoreArea.OFFICIAL)\n",
            "(StoreArea.DATA, StoreArea.OFFICIAL)\n",
        ),
        ("lock",),
        told(f"{TWO_UPDATES}\nfreeze\nrot area=aggregates\nverify lock", timeframes=("5m", "1d")),
    ),
    Mutant(
        "a lock says nothing of a day that comes on its last date",
        change(
            LOCK,
            "        return named and self.first <= place.first and place.last <= self.last\n",
            "        return named and self.first <= place.first and place.last < self.last\n",
        ),
        ("lock",),
        told(
            """
            2024-03-05 12:30 day lacking symbol=MSFT date=2024-03-05 official=True until=2024-03-06T12:00:00Z
            2024-03-06 01:31 update
            freeze
            2024-03-06 13:00 ingest retry
            verify lock
            """,
            "AAPL",
            "MSFT",
        ),
    ),
    Mutant(
        "a pause that the provider asks for is not kept",
        change(
            RATE,
            "        self._turns.pause(min(seconds, LONGEST_PAUSE))\n",
            "        self._turns.pause(min(seconds, 0.0))\n",
        ),
        ("rate",),
        told("2024-03-06 01:31 update [wire too-many after 7 at GET 1]"),
    ),
    Mutant(
        "a lease lasts for an hour",
        change(LEASES, "LEASE = timedelta(minutes=10)\n", "LEASE = timedelta(minutes=60)\n"),
        ("lease",),
        told("2024-03-06 01:31 ingest [pause 1500 at GET 2] | beside: ingest", seed=2),
        seeds=8,
    ),
    Mutant(
        "the temporary files of a write that has failed stay",
        change(
            STAGED,
            "        if not are_durable:\n            for each in written:\n                each.discard()\n",
            "        if not are_durable:\n            for each in written[1:]:\n                each.discard()\n",
        ),
        ("leftovers",),
        told("2024-03-06 01:31 update [errno:EIO at fsync 1]"),
    ),
    Mutant(
        "a bar that was rejected once stays in quarantine",
        change(
            ARRIVED,
            "            kept = _outside(read_rows(quarantined, disk), part)\n",
            "            kept = read_rows(quarantined, disk)\n",
        ),
        ("quarantine",),
        told("""
            2024-03-05 12:30 bars rejected symbol=AAPL date=2024-03-05 bars=2 until=2024-03-06T12:00:00Z
            2024-03-06 01:31 update
            2024-03-06 13:00 audit adopt
        """),
    ),
    Mutant(
        "an audit does not see bars that the provider has no more",
        change(COMPARER, "        removed=int((~kept).sum()),\n", "        removed=0,\n"),
        ("audit",),
        told("""
            2024-03-06 01:31 update
            bars lacking symbol=AAPL date=2024-03-05 bars=2
            audit
        """),
    ),
    Mutant(
        "the aggregates of a dropped symbol stay",
        change(
            DROPPING,
            "    removal.remove_derived(symbol)  # first: aggregates must not outlive their minutes\n",
            "",
        ),
        ("drop",),
        told(f"{TWO_UPDATES}\ndrop symbols=AAPL", "AAPL", "MSFT", timeframes=("1h",)),
    ),
    Mutant(
        "the bars of a dropped symbol are no former version",
        change(
            MANAGER,
            "            with self._files.collected():\n                self._files.keep(",
            "            with self._files.collected():\n                dict(",
        ),
        ("drop",),
        told(f"{TWO_UPDATES}\ndrop symbols=AAPL", "AAPL", "MSFT"),
    ),
    Mutant(
        "each recovered day was over when it was stored",
        change(
            RECOVERY,
            "outcome = Outcome.COMPLETE if self._finality.is_final(session, since) else Outcome.PARTIAL",
            "outcome = Outcome.COMPLETE if session.extended.start < since else Outcome.PARTIAL",
        ),
        ("verdict",),
        told("""
            2024-03-05 20:52 ingest end=2024-03-05
            2024-03-06 03:00 recover force
            coverage
        """),
    ),
    Mutant(
        "any two answers with bars are the same answer",
        change(
            CHECKPOINT,
            "    return known.version is not None and known.version.sha256 == stored.sha256\n",
            "    return known.version is not None\n",
        ),
        ("verdict",),
        told(
            f"""
            {updates(1, 13)}
            bars withheld symbol=AAPL date=2024-03-22 how=odd until=2024-03-23T12:00:00Z
            {updates(14, 14)}
            2024-03-23 13:00 bars withheld symbol=AAPL date=2024-03-22 how=late
            ingest retry
            coverage
            """,
            SymbolTraits("AAPL", minutes=5),
            session="extended",
        ),
    ),
    Mutant(
        "the second answer without bars withdraws a day, however many have to confirm it",
        change(
            COORDINATOR,
            "        repeated = record.contradictions > 0 and record.contradictions + 1 >= self._confirmations\n",
            "        repeated = record.contradictions > 0\n",
        ),
        ("lost",),
        told(
            """
            2024-03-06 01:31 update
            day lacking symbol=AAPL date=2024-03-05 official=True
            audit adopt
            ingest
            """,
            confirmations=3,
        ),
    ),
    Mutant(
        "an aggregate of corrected minutes gets the time of a fresh one",
        change(
            FRESHNESS,
            "if self.recorded.get(str(month)) != self.sources[str(month)])\n",
            "if str(month) not in self.recorded)\n",
        ),
        ("aggregate",),
        told(
            f"{TWO_UPDATES}\ncorrected symbol=AAPL date=2024-03-05 bars=5\naudit adopt\nload",
            timeframes=("5m", "1d"),
        ),
    ),
    Mutant(
        "a day that verify finds rotted stays complete",
        change(
            CHECKER,
            "            self._register.mark_suspect(symbol, suspect)\n",
            "            suspect.clear()\n",
        ),
        ("verify",),
        told(f"{TWO_UPDATES}\nrot area=data\nverify\n2024-03-07 13:00 coverage"),
    ),
)
