"""Mistakes in what is final, in the rules of coverage and in validation."""

from __future__ import annotations

from typing import Final

from tests.simulation.mutants.attacks import updates
from tests.simulation.mutants.mutant import Change, Mutant, change
from tests.simulation.mutants.telling import told

PLAN: Final = "ingestion/domain/ingestion_plan.py"
CLASSES: Final = "ingestion/domain/coverage/classification.py"
INVENTORY: Final = "storage/infrastructure/inventory/file_inventory.py"
MARKET: Final = "ingestion/domain/coverage/market.py"
BARS: Final = "shared_kernel/domain/ohlcv_bar.py"
VERSIONS: Final = "storage/infrastructure/day_versions.py"

OF_COVERAGE: Final = (
    Mutant(
        "a session is final at its close, before the late hours",
        change(
            PLAN,
            "        return now.plus(-self.delay) >= session.extended.end\n",
            "        return now.plus(-self.delay) >= session.closes\n",
        ),
        ("verdict",),
        told(
            """
            2024-03-05 22:00 update
            2024-03-06 03:00 coverage
            """,
            session="extended",
        ),
    ),
    Mutant(
        "a file that is gone does not change the verdict on its day",
        change(
            INVENTORY,
            "        for day in missing:\n",
            "        for day in list[date]():\n",
        ),
        ("verdict", "heals", "lost"),
        told("""
            2024-03-06 01:31 update
            2024-03-07 01:31 update
            file lost area=data
            coverage
        """),
    ),
    Mutant(
        "a file with other bytes than the recorded ones is as good",
        (
            Change(
                INVENTORY, "        return None if is_same else VersionCondition.ALTERED\n", "        return None\n"
            ),
            Change(
                INVENTORY,
                "    if size == STRANGE or recorded_size not in (None, size):\n",
                "    if size == STRANGE or recorded_size == -1:\n",
            ),
        ),
        ("heals", "verdict", "lost"),
        told("""
            2024-03-06 01:31 update
            corrected symbol=AAPL date=2024-03-05 bars=2
            audit adopt [kill at sql COMMIT 9]
            coverage
        """),
    ),
    Mutant(
        "one session without bars is unlisted if the newest",
        (
            Change(
                CLASSES,
                "        if outside and listing.run_outside(position) >= max("
                "self.thresholds.unlisted_sessions, listing.longest_run + 1):\n"
                "            if position > listing.last:\n"
                "                return self._after_the_last(position, record, of)\n",
                "        if outside:\n",
            ),
            Change(
                CLASSES,
                "            return Finding(Verdict.SUSPECT, detail, Suspicion.WITHHELD, Evidence.OFFICIAL)\n",
                "            return None if detail else None\n",
            ),
        ),
        ("ok over a loss",),
        told(
            f"""
            {updates(1, 4)}
            day lacking symbol=AAPL date=2024-03-11 official=True
            {updates(5, 6)}
            """,
            "AAPL",
            "MSFT",
        ),
    ),
    Mutant(
        "a day without bars is empty, though its official day has volume",
        change(
            CLASSES,
            "            if day.volume < LOT:\n                return EMPTY[BY_OFFICIAL_DAY]\n",
            "            if day.volume >= 0:\n                return EMPTY[BY_OFFICIAL_DAY]\n",
        ),
        ("ok over a loss",),
        told("""
            2024-03-06 01:31 update
            day lacking symbol=AAPL date=2024-03-06 official=True
            2024-03-07 01:31 update
        """),
    ),
    Mutant(
        "an answer counts as repeated whatever came before",
        change(
            CLASSES,
            "        if record.answers < self.thresholds.confirmations:\n            return found\n",
            "",
        ),
        ("verdict",),
        told(
            """
            2024-03-06 01:31 update
            day lacking symbol=AAPL date=2024-03-06 official=True
            2024-03-07 01:31 update
        """,
            confirmations=3,
        ),
    ),
    Mutant(
        "a bar whose high is below its low passes",
        (
            Change(BARS, "price <= HIGH for price in (OPEN, LOW, CLOSE)", "price >= 0 for price in (OPEN, LOW, CLOSE)"),
            Change(BARS, "price >= LOW for price in (OPEN, HIGH, CLOSE)", "price >= LOW for price in (OPEN, CLOSE)"),
        ),
        ("invented", "lost"),
        told("""
            2024-03-05 12:30 bars rejected symbol=AAPL date=2024-03-05 bars=2
            2024-03-06 01:31 update
        """),
    ),
    Mutant(
        "a bar whose newer version was rejected is gone",
        change(
            VERSIONS,
            "(times < final.end.epoch_micros) & ~np.isin(times, rejected)\n",
            "(times < final.end.epoch_micros)\n",
        ),
        ("lost",),
        told("""
            2024-03-05 19:00 ingest end=2024-03-05
            bars rejected symbol=AAPL date=2024-03-05 bars=5
            2024-03-06 01:31 update
        """),
    ),
)
