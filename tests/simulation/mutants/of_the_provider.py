"""Mistakes in what is asked of the provider and in what its answers mean: pages, retries, the rate limit."""

from __future__ import annotations

from typing import Final

from tests.simulation.mutants.attacks import AT_ONCE
from tests.simulation.mutants.mutant import Change, Mutant, change
from tests.simulation.mutants.telling import told

WALK: Final = "integration/domain/page_walk.py"
CLIENT: Final = "integration/infrastructure/base_api_client.py"
ARRIVED: Final = "storage/infrastructure/publishing/arrived_days.py"
RATE: Final = "integration/infrastructure/rate_limits/rate_limiter.py"
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
            f"""
            2024-03-06 01:31 {AT_ONCE}
            2024-03-07 01:31 {AT_ONCE}
            """,
            "AAPL",
            "MSFT",
            requests_per_minute=8,
            patience=0.0,
        ),
    ),
    Mutant(
        "every second request is not counted",
        change(
            RATE,
            "            self._disk.pwrite(file, HEADER.pack(count + 1, 0), 0)\n",
            "            self._disk.pwrite(file, HEADER.pack(count + 1 if count % 2 else count, 0), 0)\n",
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
        ),
    ),
    Mutant(
        "bars are stored in the order in which they come",
        change(
            ARRIVED,
            "            yield bars if is_ordered else self.day_bars(part.symbol_day, in_order(bars.table))\n",
            "            yield bars\n",
        ),
        ("twice",),
        told("2024-03-06 01:31 update [wire unsorted at GET 2]"),
    ),
)
