"""Mistakes that the world does not see, each with the reason: what drawing or oracle lack, or why it is harmless."""

from __future__ import annotations

from typing import Final

from tests.simulation.mutants.mutant import Change, Mutant, change

VERSIONS: Final = "storage/infrastructure/day_versions.py"
DURABLE: Final = "storage/infrastructure/publishing/durable_files.py"
MONTH_FILE: Final = "storage/infrastructure/compacted/month_file.py"
ASSEMBLER: Final = "integration/infrastructure/whole_day_assembler.py"
CLIENT: Final = "integration/infrastructure/base_api_client.py"
WALK: Final = "integration/domain/page_walk.py"

UNSEEN: Final = (
    Mutant(
        "the moments of versions do not ascend when the clock was set back",
        change(
            VERSIONS,
            "        return max([self.now, *(moment.plus(MICROSECOND) for moment in earlier if moment is not None)])\n",
            "        return self.now if earlier else self.now\n",
        ),
        unseen="a version that is replaced takes its moment after the revision before it as well",
    ),
    Mutant(
        "lines are appended to a line of the version index that a crash has torn",
        change(DURABLE, 'memoryview(b"\\n" + lines if torn else lines)', "memoryview(lines)"),
        unseen="the moments are in the state too, and verify may name the index after a power loss",
    ),
    Mutant(
        "the days of a compacted month lose their times",
        change(
            MONTH_FILE,
            "content[p.offset : p.offset + p.size], p.modified_ns) for p in",
            "content[p.offset : p.offset + p.size], 0) for p in",
        ),
        unseen="harmless: the version index has their moments, and the next look gives them their times again",
    ),
    Mutant(
        "the second part of a symbol-day replaces the first",
        change(
            ASSEMBLER,
            "        final_window = None if symbol_day in self._emitted else self._days.final_window(number)\n",
            "        final_window = self._days.final_window(number)\n",
        ),
        unseen="no order of pages in this world brings a day in two parts after it was taken for whole",
    ),
    Mutant(
        "a page that points to itself is requested for ever",
        (
            Change(CLIENT, "        PageWalk.check_progress(exchange.call, page)\n", ""),
            Change(WALK, "        if cursor in self._cursors:\n", "        if not cursor:\n"),
            Change(
                WALK,
                "        if self._idle_in_a_row >= IDLE_PAGES_IN_A_ROW:\n",
                "        if self._idle_in_a_row < 0:\n",
            ),
            Change(WALK, "        if self._bars_left < 0:\n", "        if self._bars_left > 0 and not cursor:\n"),
        ),
        unseen="the provider of this world does so once and goes on",
    ),
)
