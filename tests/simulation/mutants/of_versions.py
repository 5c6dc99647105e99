"""Mistakes in the version keeper: what becomes a revision, and since when it is known."""

from __future__ import annotations

from typing import Final

from tests.simulation.mutants.mutant import Change, Mutant, change
from tests.simulation.mutants.telling import told

VERSIONS: Final = "storage/infrastructure/day_versions.py"
MANAGER: Final = "storage/infrastructure/partition_manager.py"
STAGED: Final = "storage/infrastructure/publishing/staged_files.py"
LOADER: Final = "storage/infrastructure/reading/bar_loader.py"

CORRECTED: Final = """
    2024-03-06 01:31 update
    corrected symbol=AAPL date=2024-03-05 bars=2
    audit adopt
    load
"""

OF_VERSIONS: Final = (
    Mutant(
        "no former version is kept",
        change(
            MANAGER,
            "        self._files.keep({path: self._layout.revision(revision) for path, revision in former.items()})\n"
            "        lines =",
            "        lines =",
        ),
        ("as of",),
        told(CORRECTED),
    ),
    Mutant(
        "a stored bar wins over the provider's newer one",
        (
            Change(
                VERSIONS,
                "    keep = ~np.isin(times, known)\n",
                "    newer = newer.filter(pa.array(~np.isin(known, times)))\n"
                "    keep = np.ones(len(times), np.bool_)\n",
            ),
            Change(VERSIONS, "        keep &= ~withdrawn\n", "        keep &= ~withdrawn | np.isin(times, known)\n"),
        ),
        ("lost",),
        told("""
            2024-03-05 19:00 ingest end=2024-03-05
            corrected symbol=AAPL date=2024-03-05 bars=5
            2024-03-06 01:31 update
        """),
    ),
    Mutant(
        "a bar that the provider has withdrawn stays",
        change(VERSIONS, "        keep &= ~withdrawn\n", "        pass\n"),
        ("lost",),
        told("""
            2024-03-05 19:00 ingest end=2024-03-05
            bars lacking symbol=AAPL date=2024-03-05 bars=5
            2024-03-06 01:31 update
        """),
    ),
    Mutant(
        "no revision without bars follows a withdrawn day",
        change(
            MANAGER,
            "                        group.add(self._layout.revision(since), version.content, modified_ns)\n",
            "                        pass\n",
        ),
        ("as of",),
        told("""
            2024-03-06 01:31 update
            2024-03-07 01:31 update
            day lacking symbol=AAPL date=2024-03-05 official=False
            audit adopt
            ingest
            ingest
            load
            2024-03-08 01:31 update
        """),
    ),
    Mutant(
        "a file that another program rewrote becomes a version of its day",
        change(VERSIONS, "    return kept is not None and kept >= since\n", "    return True\n"),
        ("as of",),
        told("""
            2024-03-06 01:31 update
            rewritten
            load
            ingest
            load
        """),
    ),
    Mutant(
        "a version that is known since just the moment asked for is not seen",
        change(LOADER, "if each.known_since <= moment}\n", "if each.known_since < moment}\n"),
        ("as of",),
        told(CORRECTED),
    ),
)
