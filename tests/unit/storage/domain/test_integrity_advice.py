"""The advice for a damaged month: of imported bars none can be requested."""

from __future__ import annotations

import pytest

from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.integrity import repair_of

SCOPE = "--symbols AAPL --start 2024-01-01 --end 2024-01-31"


@pytest.mark.parametrize(
    ("provider", "first_advice"),
    [
        ("alpaca", f"'marketpipe ingest {SCOPE}' repairs it"),
        ("import:mine", "'marketpipe import' with your files repairs it"),
        (
            None,
            f"'marketpipe ingest {SCOPE}', or 'marketpipe import' with your files if the bars were imported, repairs",
        ),
    ],
)
def test_a_damaged_month_is_repaired_by_the_command_that_can_bring_its_bars(
    provider: str | None, first_advice: str
) -> None:
    identity = None if provider is None else DatasetIdentity(provider, "sip", "raw")

    advice = repair_of(MonthPartition(Symbol("AAPL"), 2024, 1), identity)

    assert advice.startswith(first_advice)
    assert advice.endswith(f"'marketpipe compact --undo {SCOPE}' keeps what can be read of it")
