"""Mistakes in what is asked of the provider and in what its answers mean: pages, retries, the rate limit."""

from __future__ import annotations

from typing import Final

from tests.simulation.mutants.mutant import Change, Mutant, change
from tests.simulation.mutants.telling import told

WALK: Final = "integration/domain/page_walk.py"
CLIENT: Final = "integration/infrastructure/base_api_client.py"
RATE: Final = "integration/infrastructure/rate_limiter.py"
RETRY: Final = "integration/infrastructure/retry.py"
ASSEMBLER: Final = "integration/infrastructure/whole_day_assembler.py"
HTTP: Final = "integration/infrastructure/http_exchange.py"

OF_THE_PROVIDER: Final = (
    Mutant(
        "only the first page of an answer is read",
        (
            Change(
                CLIENT,
                "next_cursor=self.next_cursor(page))\n",
                "next_cursor=None)\n",
            ),
        ),
        ("verdict", "lost"),
        told("""
            2024-03-06 01:31 update [wire page 3 at GET 2]
            coverage
        """),
    ),
    Mutant(
        "one request more than the limit is let through",
        (
            Change(
                RATE,
                "        if count < limit:\n            return now\n",
                "        if count <= limit:\n            return now\n",
            ),
            Change(RATE, "        last = count - limit\n", "        last = count - limit - 1\n"),
        ),
        ("rate",),
        told(
            """
            2024-03-06 01:31 update [wire page 1 at GET 2]
            """,
            "AAPL",
            requests_per_minute=8,
        ),
    ),
    Mutant(
        "the limit is that of each process and not of all",
        change(
            RATE,
            "            self._disk.pwrite(file, HEADER.pack(count + 1, 0), 0)\n",
            "            self._disk.pwrite(file, HEADER.pack(count + 1 if count % 2 else count, 0), 0)\n",
        ),
        ("rate",),
        told(
            "2024-03-06 01:31 update [wire page 1 at GET 2]",
            requests_per_minute=8,
        ),
    ),
    Mutant(
        "a bar that comes after a page of another day begins a day of its own",
        change(
            ASSEMBLER,
            "        final_window = None if symbol_day in self._emitted else self._days.final_window(number)\n",
            "        final_window = self._days.final_window(number)\n",
        ),
        ("lost", "verdict"),
        told(
            """
            2024-03-08 01:31 update [wire page 3 at GET 2] [wire by-time at GET 3]
            """,
            "AAPL",
            "MSFT",
        ),
    ),
    Mutant(
        "a page that points to itself is read for ever",
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
        ("ends",),
        told("2024-03-06 01:31 update [wire page 3 at GET 2] [wire own-token at GET 3]"),
    ),
)
