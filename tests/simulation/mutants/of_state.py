"""Mistakes in the state: checkpoints, leases, locks, digests, recovery."""

from __future__ import annotations

from typing import Final

from tests.simulation.mutants.mutant import Mutant, change
from tests.simulation.mutants.telling import told

LEASES: Final = "ingestion/infrastructure/sqlite_leases.py"
CHECKPOINTS: Final = "ingestion/infrastructure/sql/checkpoints.py"
SCHEMA: Final = "ingestion/infrastructure/sqlite_schema.py"
LOCKS: Final = "ingestion/infrastructure/locks.py"
RECOVERY: Final = "ingestion/application/recovery.py"
JOB: Final = "ingestion/domain/ingestion_job.py"
PLANNER: Final = "ingestion/application/ingestion_planner.py"
DIGESTS: Final = "storage/infrastructure/publishing/digest_recorder.py"
LOCK: Final = "storage/domain/dataset_lock.py"

OF_STATE: Final = (
    Mutant(
        "leases of the dead stay until they run out",
        change(LEASES, '                _delete(connection, "holder = ?", holder)\n', "                pass\n"),
        ("lease",),
        told("""
            2024-03-06 01:31 update [kill at GET 2]
            update
        """),
    ),
    Mutant(
        "who holds a lock file counts as alive after its end",
        change(
            LOCKS,
            "            with suppress(OSError):\n                disk.unlink(file)\n        except BlockingIOError",
            "            return True\n        except BlockingIOError",
        ),
        ("lease",),
        told("""
            2024-03-06 01:31 update [kill at GET 2]
            update
        """),
    ),
    Mutant(
        "a lease that has run out stays",
        change(
            LEASES,
            '            _delete(connection, "holder <> ? AND until <= ?", ours, now.epoch_micros)\n',
            "            pass\n",
        ),
        ("lease", "ends"),
        told("2024-03-06 01:31 ingest [pause 1500 at GET 2] | beside: ingest", seed=2),
        seeds=8,
    ),
    Mutant(
        "a checkpoint is not as durable as its file",
        change(
            CHECKPOINTS,
            "        with self._database.transaction(durable=True) as connection:  # as durable as",
            "        with self._database.transaction() as connection:  # as durable as",
        ),
        ("verdict",),
        told(
            """
            2024-03-06 01:31 update
            power loss
            coverage
        """,
            seed=2,
        ),
        seeds=8,
    ),
    Mutant(
        "a commit that has failed counts as done",
        change(
            SCHEMA,
            '        yield\n        connection.execute("COMMIT")\n',
            '        yield\n        try:\n            connection.execute("COMMIT")\n'
            "        except sqlite3.OperationalError:\n            pass\n",
        ),
        ("verdict", "heals", "lost"),
        told("""
            2024-03-06 01:31 update [lost commit at sql COMMIT 10]
            coverage
        """),
    ),
    Mutant(
        "a file of a session that was not over is adopted as complete",
        change(
            RECOVERY,
            "            if job and self._finality.is_final(",
            "            if job or self._finality.is_final(",
        ),
        ("verdict",),
        told(
            """
            2024-03-05 22:00 ingest end=2024-03-05 [kill at sql COMMIT 7]
            2024-03-06 03:00 update
            coverage
            """,
            session="extended",
        ),
    ),
    Mutant(
        "a session that was not over is recorded as complete",
        change(
            JOB,
            "        had_bars = Outcome.COMPLETE if self._asked[day.symbol_day.trading_date].final else Outcome.P",
            "        had_bars = Outcome.COMPLETE if self._asked[day.symbol_day.trading_date] else Outcome.P",
        ),
        ("verdict",),
        told(
            """
            2024-03-05 22:00 ingest end=2024-03-05
            2024-03-06 03:00 coverage
            """,
            session="extended",
        ),
    ),
    Mutant(
        "bars of a symbol that the provider has refused are none",
        change(
            JOB,
            "        if refusal is not None:\n            return SymbolDayOutcome(",
            "        if refusal is not None and not refusal:\n            return SymbolDayOutcome(",
        ),
        ("verdict", "heals"),
        told("""
            2024-03-05 12:30 official absent symbol=AAPL date=2024-03-05
            2024-03-06 01:31 update [wire refuse named at GET 3]
            2024-03-06 03:00 coverage
        """),
    ),
    Mutant(
        "a day whose file is not the recorded one needs no request",
        change(
            PLANNER,
            "        if symbol not in with_suspects and inventory.marks(symbol, first, last) == marks:\n",
            "        if symbol not in with_suspects:\n",
        ),
        ("lost", "heals", "verdict"),
        told("""
            2024-03-06 01:31 update
            corrected symbol=AAPL date=2024-03-05 bars=2
            audit adopt [kill at sql COMMIT 9]
            ingest
            coverage
        """),
    ),
    Mutant(
        "what is settled is requested again",
        change(PLANNER, "            hours[symbol] = settled\n", "            hours[symbol] = {}\n"),
        ("asked again",),
        told("""
            2024-03-06 01:31 update
            ingest
        """),
    ),
    Mutant(
        "the digest of a file is recorded after its publication only",
        change(DIGESTS, "        register.expect(named, durable=any(map(_is_history, digests)))\n", ""),
        ("verify", "heals"),
        told("""
            2024-03-05 12:30 bars rejected symbol=AAPL date=2024-03-05 bars=9
            2024-03-05 19:00 ingest end=2024-03-05
            2024-03-06 01:31 update [kill at sql COMMIT 9]
            verify
        """),
    ),
    Mutant(
        "a lock does not compare the bytes of its files",
        change(LOCK, "        if file.sha256 == self.sha256:\n", "        if file.sha256:\n"),
        ("lock",),
        told("""
            2024-03-06 01:31 update
            freeze
            corrected symbol=AAPL date=2024-03-05 bars=2
            audit adopt
            verify lock
        """),
    ),
    Mutant(
        "a lock has no official days",
        change(
            LOCK,
            "(StoreArea.DATA, StoreArea.AGGREGATES, StoreArea.OFFICIAL)\n",
            "(StoreArea.DATA, StoreArea.AGGREGATES)\n",
        ),
        ("lock",),
        told("""
            2024-03-06 01:31 update
            freeze
            official close symbol=AAPL date=2024-03-05 factor=1.05
            update
            verify lock
        """),
    ),
    Mutant(
        "what another process has settled meanwhile is requested again",
        change(
            LEASES,
            "            settled = {} if since is None else self._settled(connection, wanted, since)\n",
            "            settled = {} if since is None else self._settled(connection, {}, since)\n",
        ),
        ("asked again",),
        told("2024-03-06 01:31 ingest | beside: ingest"),
    ),
    Mutant(
        "a process writes though its lease ran out and another has the days",
        change(
            LEASES,
            "            return connection.execute(SET_LEASE_END, (NEVER, lease)).rowcount == 1\n",
            "            return connection.execute(SET_LEASE_END, (NEVER, lease)).rowcount >= 0\n",
        ),
        ("lost",),
        told("""
            2024-03-05 12:30 corrected symbol=AAPL date=2024-03-05 bars=2 until=2024-03-06T01:35:00Z
            2024-03-06 01:31 ingest | beside: ingest [pause 1500 at sql BEGIN 9]
        """),
    ),
)
