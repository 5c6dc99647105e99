"""Mistakes in aggregates, read copies, compacted months and official days."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.simulation.mutants.mutant import Mutant, change
from tests.simulation.mutants.telling import told
from tests.simulation.story import Story

AGGREGATOR: Final = "storage/infrastructure/aggregates/bar_aggregator.py"
BUCKETS: Final = "storage/infrastructure/aggregates/buckets.py"
FRESHNESS: Final = "storage/infrastructure/aggregates/year_freshness.py"
COPIES: Final = "storage/infrastructure/aggregates/read_copies.py"
LAYOUT: Final = "storage/infrastructure/store_layout.py"
MONTHS: Final = "storage/infrastructure/publishing/month_folders.py"
MONTH_FILE: Final = "storage/infrastructure/compacted/month_file.py"
DIGESTS: Final = "storage/infrastructure/publishing/digest_recorder.py"
HISTORY: Final = "storage/infrastructure/official/official_history.py"
OFFICIAL: Final = "storage/infrastructure/official/official_files.py"
PARTITION: Final = "storage/domain/data_partition.py"
STORIES: Final = Path(__file__).parents[1] / "stories"

TWO_DAYS: Final = """
    2024-03-06 01:31 update
    2024-03-07 01:31 update
    verify
"""
CORRECTED: Final = """
    2024-03-06 01:31 update
    2024-03-07 01:31 update
    corrected symbol=AAPL date=2024-03-05 bars=5
    audit adopt
    load
"""
A_MONTH_THAT_IS_OVER: Final = {"begins": "2024-03-26T12:00:00Z", "start": "2024-03-26"}

OF_DERIVED: Final = (
    Mutant(
        "the last bar of a month is not aggregated",
        change(
            AGGREGATOR,
            "        return [bars.slice(first, after - first) for first, after in bounds]\n",
            "        return [bars.slice(first, after - first - 1) for first, after in bounds]\n",
        ),
        ("aggregate",),
        told(TWO_DAYS, timeframes=("5m", "1h")),
    ),
    Mutant(
        "a compacted month lacks its last day",
        change(
            MONTHS,
            "            content = joined(month, days, recorded, identity)\n",
            "            content = joined(month, days[:-1], recorded, identity)\n",
        ),
        ("lost",),
        told(
            """
            2024-03-29 01:31 update
            2024-04-10 01:31 compact
            """,
            **A_MONTH_THAT_IS_OVER,
        ),
    ),
    Mutant(
        "the high of an aggregate is that of its first minute",
        change(
            BUCKETS,
            "_reduced(np.maximum, high, starts, lengths), _reduced(np.minimum, low, starts, lengths)\n",
            "high[starts], _reduced(np.minimum, low, starts, lengths)\n",
        ),
        ("aggregate",),
        told(TWO_DAYS, timeframes=("1h",)),
    ),
    Mutant(
        "a daily bar leaves out the closing auction",
        change(
            BUCKETS,
            "            of_days = source.followed_by(Buckets.of(auctions).at_one_price())\n",
            "            of_days = source\n",
        ),
        ("aggregate",),
        told(
            """
            2024-03-05 12:30 official absent symbol=AAPL date=2024-03-05 last=2024-03-08
            2024-03-06 01:31 update
            2024-03-07 01:31 update
            verify
            """,
            timeframes=("1d",),
        ),
    ),
    Mutant(
        "an aggregate that exists is fresh",
        change(
            FRESHNESS,
            "        return modified_ns(file.path, self._layout.disk) == self.fingerprint(file)\n",
            "        return modified_ns(file.path, self._layout.disk) is not None\n",
        ),
        ("aggregate",),
        told(CORRECTED, timeframes=("5m", "1d")),
    ),
    Mutant(
        "a read copy that exists is fresh",
        change(
            COPIES,
            "                if status.modified_ns == self._fingerprint(month):\n",
            "                if status.modified_ns:\n",
        ),
        ("as of",),
        told(
            """
            2024-03-06 01:31 update
            2024-03-07 01:31 update
            aggregate timeframes=1m
            corrected symbol=AAPL date=2024-03-05 bars=5
            audit adopt [kill at sql COMMIT 9]
            load
            """,
            copies="arrow",
        ),
    ),
    Mutant(
        "as_of answers though the history of official days is not what was recorded",
        change(HISTORY, "            if not recorded or (", "            if True or ("),
        ("as of",),
        told("""
            2024-03-06 01:31 update
            2024-03-06 02:00 official close symbol=AAPL date=2024-03-05 factor=1.05
            2024-03-06 02:10 update
            2024-03-07 01:31 rewritten area=revisions
        """),
    ),
    Mutant(
        "a history that begins anew answers for all time",
        change(
            HISTORY, "        if found.lost_before is not None and moment < found.lost_before:", "        if False:"
        ),
        ("as of",),
        told("""
            2024-03-06 01:31 update
            2024-03-06 02:00 official close symbol=AAPL date=2024-03-05 factor=1.05
            2024-03-07 01:31 update
            2024-03-07 01:41 file lost area=revisions file=known_since
            2024-03-08 01:31 update
        """),
    ),
    Mutant(
        "the histories of official days have no digests",
        change(DIGESTS, " or _is_history(path))", ")"),
        ("verify",),
        told("""
            2024-03-06 01:31 update
            2024-03-06 01:41 file lost area=revisions file=known_since
        """),
    ),
    Mutant(
        "the former versions of official days are not kept",
        change(
            OFFICIAL,
            "                    if len(more := year.new_versions()) or year.begins_anew:\n",
            "                    if len(more := year.new_versions()) and not len(year.history.versions):\n",
        ),
        ("as of",),
        told("""
            2024-03-06 01:31 update
            2024-03-06 02:00 official close symbol=AAPL date=2024-03-05 factor=1.05
            2024-03-07 01:31 update
            2024-03-08 01:31 update
        """),
    ),
    Mutant(
        "an answer on some official days removes the others of the year",
        change(
            OFFICIAL,
            "        others = base.filter(pa.array(~np.isin(times_of(base), answer.answered)))\n",
            "        others = base.slice(0, 0)\n",
        ),
        ("as of", "official"),
        told("""
            2024-03-06 01:31 update
            2024-03-07 01:31 update
            2024-03-08 01:31 update
            2024-03-09 01:31 update
            2024-03-12 01:31 update
            2024-03-13 01:31 update
            2024-03-14 01:31 update
            2024-03-15 01:31 update
        """),
    ),
    Mutant(
        "a bit that rots in the name of a dataset makes it another dataset",
        change(PARTITION, "    return digest != recorded.sha256\n", "    return False\n"),
        ("heals",),
        Story.read(STORIES / "a-rotted-name-of-a-dataset-is-damage.json"),
    ),
)
