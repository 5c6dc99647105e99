"""Mistakes in the durable writer, in the temporary files and in the folders of months."""

from __future__ import annotations

from typing import Final

from tests.simulation.mutants.mutant import Mutant, change
from tests.simulation.mutants.telling import told
from tests.simulation.traits import DiskTraits

DURABLE: Final = "storage/infrastructure/publishing/durable_files.py"
STAGED: Final = "storage/infrastructure/publishing/staged_files.py"
TEMPORARY: Final = "storage/infrastructure/publishing/temporary_files.py"
MONTHS: Final = "storage/infrastructure/publishing/month_folders.py"
EXCHANGE: Final = "storage/infrastructure/publishing/folder_exchange.py"

STORED_THEN_NO_POWER: Final = """
    2024-03-06 01:31 update
    power loss
    verify
"""

OF_THE_WRITER: Final = (
    Mutant(
        "a file is not synced before it gets its name",
        change(STAGED, "            self._disk.fsync(descriptor)\n", ""),
        ("lost",),
        told(STORED_THEN_NO_POWER),
        seeds=8,
    ),
    Mutant(
        "the folders of new files are not synced",
        change(DURABLE, "            self._sync(group.folders)\n", "            pass\n"),
        ("lost",),
        told(STORED_THEN_NO_POWER, disk=DiskTraits(ordered=False)),
        seeds=8,
    ),
    Mutant(
        "the folders above a new folder are not synced",
        change(
            DURABLE,
            "    return [*inside, *(made.parent for made in missing if made.parent not in inside)]\n",
            "    return []\n",
        ),
        ("lost",),
        told(STORED_THEN_NO_POWER, disk=DiskTraits(ordered=False), seed=3),
        seeds=8,
    ),
    Mutant(
        "what the system left of a short write is not written",
        change(STAGED, "        while count < len(content):\n", "        while count < 0:\n"),
        ("lost", "invented"),
        told(STORED_THEN_NO_POWER, disk=DiskTraits(short_writes=True)),
    ),
    Mutant(
        "a day that was stored by a process that died is confirmed without a sync",
        change(DURABLE, "            self._sync({path.parent for path in paths})\n", "            pass\n"),
        ("lost",),
        told(
            """
            2024-03-06 01:31 update
            2024-03-07 01:31 update [kill at fsync 6]
            ingest
            power loss
            load
            """,
            disk=DiskTraits(ordered=False),
            seed=2,
        ),
        seeds=8,
    ),
    Mutant(
        "the second name of a former version is not synced",
        change(DURABLE, "            self._sync(folders)\n", "            pass\n"),
        ("as of", "heals"),
        told(
            """
            2024-03-06 01:31 update
            corrected symbol=AAPL date=2024-03-05 bars=2
            audit adopt
            power loss
            load
            """,
            disk=DiskTraits(ordered=False),
            seed=2,
        ),
        seeds=8,
    ),
    Mutant(
        "the temporary files of living processes are swept",
        change(
            TEMPORARY,
            '    return machine.processes.start_of(int(match["process"])) != int(match["start"])\n',
            "    return True\n",
        ),
        ("ends",),
        told(
            """
            2024-03-06 01:31 update
            2024-03-08 01:31 ingest end=2024-03-06 [pause 60 at replace 3] | beside: ingest start=2024-03-07
            """,
            seed=3,
        ),
        seeds=8,
    ),
    Mutant(
        "a compacted month is not synced before its former files are removed",
        change(
            EXCHANGE,
            "                for parent in (folder.parent, staged.parent):  # before the former files are removed\n"
            "                    sync_folder(parent, self._disk)\n",
            "",
        ),
        ("lost",),
        told(
            """
            2024-03-29 01:31 update
            2024-04-10 01:31 compact
            power loss
            load
            """,
            disk=DiskTraits(ordered=False),
            begins="2024-03-26T12:00:00Z",
            start="2024-03-26",
            seed=3,
        ),
        seeds=8,
    ),
)
