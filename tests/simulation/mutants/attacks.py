"""Attacks that once got through, each with its repair taken out."""

from __future__ import annotations

from typing import Final

from tests.simulation.mutants.mutant import Change, Mutant, change
from tests.simulation.mutants.telling import told
from tests.simulation.traits import DiskTraits, SymbolTraits

CLASSES: Final = "ingestion/domain/coverage/classification.py"
SUSPICIONS: Final = "ingestion/domain/coverage/suspicions.py"
CHECKER: Final = "storage/application/integrity_checker.py"
RECORDED: Final = "storage/application/recorded_files.py"
ASSEMBLER: Final = "integration/infrastructure/whole_day_assembler.py"
PARSER: Final = "integration/infrastructure/alpaca/response_parser.py"
WALK: Final = "integration/domain/page_walk.py"
VERSIONS: Final = "storage/infrastructure/day_versions.py"
MANAGER: Final = "storage/infrastructure/partition_manager.py"
TEMPORARY: Final = "storage/infrastructure/publishing/temporary_files.py"
DURABLE: Final = "storage/infrastructure/publishing/durable_files.py"
COORDINATOR: Final = "ingestion/application/ingestion_coordinator.py"
LAYOUT: Final = "storage/infrastructure/store_layout.py"
RATE: Final = "integration/infrastructure/rate_limits/rate_limiter.py"

NIGHTS: Final = (6, 7, 8, 9, 12, 13, 14, 15, 16, 19, 20, 21, 22, 23, 26, 27, 28, 29)
"""The days (UTC) of March on whose nights the sessions from the 5th on are final."""


def updates(first: int, last: int) -> str:
    """Return an update after each session of March from the ``first`` to the ``last``, counted from 1."""
    return "\n".join(f"2024-03-{day:02d} 01:31 update" for day in NIGHTS[first - 1 : last])


AT_ONCE: Final = "ingest symbols=AAPL [wire page 1 at GET 1] | beside: ingest symbols=MSFT [wire page 1 at GET 1]"

ANSWERS_ARE_NOT_COMPARED: Final = (
    Change(
        WALK,
        "        if (spans or page.unrequested) and not self._has_requested and not _some",
        "        if False and not _some",
    ),
    Change(ASSEMBLER, "        if not self._unrequested:\n            return\n", "        return\n"),
)

ATTACKS: Final = (
    Mutant(
        "a session that lasts with half of its bars is complete, whatever the official day says",
        (
            Change(
                CLASSES,
                "        if (reason := of.official.short.get(position)) is not None:\n",
                "        if (reason := of.official.short.get(position)) is not None and not reason:\n",
            ),
            Change(
                SUSPICIONS,
                "            yield position, suspect(Suspicion.CHANGED, detail)\n",
                "            yield from ()\n",
            ),
            Change(
                SUSPICIONS,
                "                yield position, suspect(Suspicion.SPARSE, detail)\n",
                "                yield from ()\n",
            ),
            Change(
                CLASSES,
                "        odd = of.baseline.unusual_silence(position, self.market[position].share)\n",
                "        odd = None\n",
            ),
        ),
        ("ok over a loss",),
        told(
            f"""
            {updates(1, 13)}
            bars withheld symbol=AAPL date=2024-03-22 how=odd last=2024-04-05
            {updates(14, 16)}
            """,
            SymbolTraits("AAPL", minutes=5),
            session="extended",
        ),
        attack="02",
    ),
    Mutant(
        "verify compares no digests but those of minute bars",
        change(
            CHECKER,
            "        if self._recorded is not None:\n            of_areas",
            "        if False:\n            of_areas",
        ),
        ("verify",),
        told("""
            2024-03-06 01:31 update
            corrected symbol=AAPL date=2024-03-05 bars=2
            audit adopt
            rot area=revisions
        """),
        attack="03",
    ),
    Mutant(
        "a name that is no UTF-8 in a file raises what Python raises",
        change(
            "storage/infrastructure/parquet_files.py",
            "(OSError, pa.ArrowException, ValueError, LookupError, ",
            "(OSError, pa.ArrowException, LookupError, ",
        ),
        ("words",),
        told("""
            2024-03-06 01:31 update
            rot area=data text=volume
            verify
            2024-03-07 01:31 update
        """),
        attack="04",
    ),
    Mutant(
        "verify does not miss a recorded file that is gone",
        change(
            RECORDED,
            "            if ABSENT not in digests and not self._files.exists(path):\n",
            "            if ABSENT not in digests and not path:\n",
        ),
        ("verify",),
        told("""
            2024-03-06 01:31 update
            corrected symbol=AAPL date=2024-03-05 bars=2
            audit adopt
            file lost area=revisions
        """),
        attack="05",
    ),
    Mutant(
        "an answer with another spelling of the symbol counts as an answer without bars",
        (
            *ANSWERS_ARE_NOT_COMPARED,
            Change(PARSER, "            self._check_spelling(name, group, dict(groups))\n", "            pass\n"),
        ),
        ("verdict",),
        told("""
            2024-03-05 12:30 official absent symbol=AAPL date=2024-03-05
            2024-03-06 01:31 update [wire other-spelling at GET 3]
            coverage
        """),
        attack="06",
    ),
    Mutant(
        "an answer on other dates counts as an answer without bars",
        ANSWERS_ARE_NOT_COMPARED,
        ("verdict",),
        told("""
            2024-03-05 12:30 official absent symbol=AAPL date=2024-03-05
            2024-03-06 01:31 update [wire other-dates at GET 3]
            coverage
        """),
        attack="06",
    ),
    Mutant(
        "a version that was published and not recorded before a kill is none",
        (
            Change(
                VERSIONS,
                "    if published is not None and published > since:\n        return True\n",
                "    return False\n",
            ),
            Change(MANAGER, "damage=damage, former_since=published)", "damage=damage)"),
        ),
        ("as of",),
        told("""
            2024-03-06 01:31 update
            corrected symbol=AAPL date=2024-03-05 bars=2
            audit adopt [kill at sql COMMIT 9]
            corrected symbol=AAPL date=2024-03-05 bars=1
            audit adopt
            load
        """),
        attack="07",
    ),
    Mutant(
        "the newest sessions without bars are unlisted at once, whatever the official days say",
        (
            Change(
                CLASSES, "                return self._after_the_last(position, record, of)\n", "                pass\n"
            ),
            Change(
                CLASSES,
                "            return found if found.suspicion is None else self._short_if_confirmed(found, record)\n"
                "        outside",
                "            pass\n        outside",
            ),
        ),
        ("ok over a loss",),
        told(
            f"""
            {updates(1, 8)}
            day lacking symbol=AAPL date=2024-03-15 official=True last=2024-04-05
            {updates(9, 15)}
            """,
            "AAPL",
            "MSFT",
        ),
        attack="08",
    ),
    Mutant(
        "what a clock that was ahead has recorded is believed",
        (
            Change("integration/infrastructure/base_api_client.py", "        self._check_clock(exchange, reply)\n", ""),
            Change(
                "ingestion/infrastructure/sql/checkpoints.py",
                "        with self._database.rows(SELECT_PREMATURE, str(latest)) as rows:\n",
                '        with self._database.rows(SELECT_PREMATURE + " AND 0", str(latest)) as rows:\n',
            ),
        ),
        ("verdict",),
        told("""
            2024-03-06 01:31 update
            clock ahead=172800.0
            2024-03-06 14:00 update
            clock
            2024-03-08 01:31 coverage
        """),
        attack="09",
    ),
    Mutant(
        "half of a symbol-day is complete if the pages are by time and one of them fails",
        (
            Change(ASSEMBLER, "        if more and self._order.is_broken:\n            return None\n", ""),
            Change(
                ASSEMBLER,
                "        if keep_last and len(rows.days):\n",
                "        if keep_last and len(rows.days) > 10_000:\n",
            ),
        ),
        ("verdict", "lost"),
        told(
            """
            2024-03-06 01:31 update [wire page 3 at GET 2] [wire burst 500 99 at GET 4]
            coverage
            """,
            "AAPL",
            "MSFT",
        ),
        attack="11",
    ),
    Mutant(
        "a lock says nothing of a day that has come between its dates",
        change(
            "storage/domain/dataset_lock.py",
            "        place, pinned = LockedPlace.of(path), self._pinned\n",
            "        place, pinned = LockedPlace.of(path), None\n",
        ),
        ("lock",),
        told("""
            2024-03-06 01:31 update
            day lacking symbol=AAPL date=2024-03-06 until=2024-03-08T02:00:00Z official=False
            2024-03-07 01:31 update
            2024-03-08 01:31 update
            freeze
            2024-03-08 02:31 audit adopt
            ingest
            ingest retry
            verify lock
        """),
        attack="14",
    ),
    Mutant(
        "verify of nothing is well",
        change(
            "verifying.py",
            "    if not report.files and not report.problems:\n        raise ConfigurationError(",
            "    if report.files < 0:\n        raise ConfigurationError(",
        ),
        ("verify",),
        told("""
            2024-03-06 01:31 update [wire burst 500 99 at GET 1]
            verify
        """),
        attack="15",
    ),
    Mutant(
        "a day that the provider has withdrawn is missing for ever",
        (
            Change(
                COORDINATOR,
                "        repeated = record.contradictions > 0 and record.contradictions + 1 >= self._confirmations\n",
                "        repeated = False\n",
            ),
        ),
        ("heals",),
        told("""
            2024-03-06 01:31 update
            day lacking symbol=AAPL date=2024-03-05 official=False
            2024-03-07 01:31 update
            audit adopt
            update
        """),
        attack="16",
    ),
    Mutant(
        "a link to nowhere in the place of one day file stops the verdicts on all days",
        change(
            LAYOUT,
            "                    if error.errno not in LEADS_NOWHERE:\n                        raise\n"
            "                    found.append",
            "                    if error.errno:\n                        raise\n                    found.append",
        ),
        ("verdict",),
        told(
            """
            2024-03-06 01:31 update
            2024-03-07 01:31 update
            something else area=data by=link
            coverage
            2024-03-08 01:31 update
            """,
            "AAPL",
            "MSFT",
        ),
        attack="17",
    ),
    Mutant(
        "temporary files of the dead stay, and verify does not name them",
        change(
            TEMPORARY,
            '    return machine.processes.start_of(int(match["process"])) != int(match["start"])\n',
            "    return False\n",
        ),
        ("leftovers",),
        told("""
            2024-03-06 01:31 update [kill at replace 3]
            verify
            2024-03-07 01:31 update
        """),
        attack="18",
    ),
    Mutant(
        "a link in the place of a symbol's folder is followed out of the store",
        (
            Change(
                DURABLE,
                "        for place in chain((folder,), folder.parents) if self._roots else ():\n"
                "            if place in self._roots:\n                return place\n"
                "            if is_link(self._disk, place):\n",
                "        for place in chain((folder,), folder.parents) if self._roots else ():\n"
                "            if place in self._roots:\n                return place\n            if False:\n",
            ),
            Change(
                LAYOUT,
                "    if (link := link_below(root, folder, disk)) is not None:\n",
                "    if (link := link_below(root, folder, disk)) is not None and not link:\n",
            ),
        ),
        ("invented",),
        told("""
            2024-03-06 01:31 update
            folder moved symbol=AAPL
            2024-03-07 01:31 update
        """),
        attack="19",
    ),
    Mutant(
        "versions are named after the time of their file, which a disk with a coarse clock cuts",
        change(
            VERSIONS,
            "        day, recorded, newest = self.symbol_day, self.recorded, self._newest_revision\n",
            "        return stored.modified\n"
            "        day, recorded, newest = self.symbol_day, self.recorded, self._newest_revision\n",
        ),
        ("as of",),
        told(
            """
            2024-03-06 01:31:00 update
            2024-03-06 01:31:01 corrected symbol=AAPL date=2024-03-05 bars=2
            2024-03-06 01:31:01 audit adopt
            2024-03-06 01:31:02 corrected symbol=AAPL date=2024-03-05 bars=1
            2024-03-06 01:31:02 audit adopt
            load
            """,
            disk=DiskTraits(step_ns=2_000_000_000),
        ),
        attack="20",
    ),
    Mutant(
        "a request counts from its turn, not from its answer",
        change(
            RATE,
            "                self._disk.pwrite(file, MOMENT.pack(self._now()), _offset(number))\n",
            "                pass\n",
        ),
        ("rate",),
        told(
            f"""
            2024-03-06 01:31 {AT_ONCE}
            2024-03-07 01:31 {AT_ONCE}
            """,
            "AAPL",
            "MSFT",
            requests_per_minute=8,
            patience=0.0,
            seed=2,
        ),
        attack="21",
        seeds=8,
    ),
    Mutant(
        "verify believes at once what it finds beside an ingestion",
        change(
            CHECKER,
            "        for _ in range(ATTEMPTS):\n            days =",
            "        for _ in range(0):\n            days =",
        ),
        ("verify",),
        told("""
            2024-03-06 01:31 update
            2024-03-07 01:31 update [pause 5 at fsync 6] | beside: verify [pause 3 at open 1]
        """),
        attack="22",
    ),
)
