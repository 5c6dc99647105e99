"""However a store came to be what it is, its aggregates are those of a store that was aggregated once, at the end."""

from __future__ import annotations

import tempfile
from pathlib import Path

from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.timeframe import Timeframe
from tests.support.aggregated_store import keep
from tests.support.examples import examples
from tests.support.store_on_disk import StoreOnDisk, tree

TIMEFRAMES = (Timeframe.HOUR_1, Timeframe.DAY_1)
DATES = ("2023-12-29", "2024-01-04", "2024-01-05", "2024-03-04")


@frozen
class Store:
    """One bar is whole: whatever was there before is gone."""

    date: str
    price: float


@frozen
class Refresh:
    timeframes: tuple[Timeframe, ...]
    first: str | None
    last: str | None


@frozen
class LoseAggregate:
    """The one that comes so far in order, if there are so many."""

    number: int


Step = Store | Refresh | LoseAggregate

STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(Store, st.sampled_from(DATES), st.sampled_from((10.0, 20.0))),
    st.builds(
        Refresh,
        st.sampled_from((TIMEFRAMES, TIMEFRAMES[:1], TIMEFRAMES[1:])),
        st.none() | st.sampled_from(DATES),
        st.none() | st.sampled_from(DATES),
    ),
    st.builds(LoseAggregate, st.integers(0, 4)),
)


@examples(15)
@given(st.lists(STEPS, min_size=3, max_size=8))
def test_aggregating_bit_by_bit_is_aggregating_at_once(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bit_by_bit, at_once = StoreOnDisk(Path(folder) / "bit_by_bit"), StoreOnDisk(Path(folder) / "at_once")
        for step in steps:
            _take(step, bit_by_bit)
        for date, price in {step.date: step.price for step in steps if isinstance(step, Store)}.items():
            keep(at_once, date, price)

        for store in (bit_by_bit, at_once):
            store.refresh("AAPL", TIMEFRAMES)

        assert tree(bit_by_bit.root) == tree(at_once.root)


def _take(step: Step, store: StoreOnDisk) -> None:
    match step:
        case Store():
            keep(store, step.date, step.price)
        case Refresh():
            store.refresh("AAPL", step.timeframes, step.first, step.last)
        case LoseAggregate():
            for path in sorted(store.layout.aggregates.rglob("*.parquet"))[step.number : step.number + 1]:
                path.unlink()
