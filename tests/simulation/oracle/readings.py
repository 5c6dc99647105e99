"""What a user reads from a store at a quiet moment: asked of the product's own readers, in one process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import MarketPipeError
from tests.simulation.rows import Day, Row, date_of, in_table

if TYPE_CHECKING:
    from marketpipe import Pipeline
    from marketpipe.storage.domain.dataset_lock import DatasetLock

Bars = Mapping[Day, Sequence[Row]]
"""Bars by symbol and trading date; a day without bars is not there."""


@frozen
class Wanted:
    """What is to be read. ``moments`` are those of as-of loads, ``buckets`` a day with a timeframe each."""

    symbols: tuple[str, ...]
    first: str
    last: str
    moments: tuple[str, ...] = ()
    buckets: tuple[tuple[Day, str], ...] = ()
    locks: tuple[DatasetLock, ...] = ()
    official: tuple[str, ...] = ()
    """Moments of as-of loads of official days."""


@frozen
class Readings:
    """What was read, by the name of a reading. An error that the product raised stands in the place of its value."""

    values: Mapping[Any, Any] = field(repr=False)

    def value(self, *name: Any) -> Any:
        """Return a value; None if it was not read, or could not be."""
        found = self.values.get(name)
        return None if isinstance(found, MarketPipeError) else found

    def error(self, *name: Any) -> MarketPipeError | None:
        found = self.values.get(name)
        return found if isinstance(found, MarketPipeError) else None


def read(wanted: Wanted, pipeline: Pipeline) -> Readings:
    """Read everything. What ``verify`` finds it marks in the state, so that it comes last."""
    tasks: dict[tuple[Any, ...], Callable[[], Any]] = {("coverage",): pipeline.coverage}
    if wanted.symbols:
        load = partial(pipeline.load, list(wanted.symbols), wanted.first, wanted.last, complete="ignore")
        tasks["bars",] = lambda: by_day(load())
        tasks["official",] = lambda: by_day(load(timeframe="1d", source="official"))
        for moment in wanted.moments:
            tasks["as of", moment] = lambda moment=moment: by_day(load(as_of=moment))
        for moment in wanted.official:
            of_days = partial(load, timeframe="1d", source="official", as_of=moment)
            tasks["official as of", moment] = lambda of_days=of_days: by_day(of_days())
        for day, timeframe in wanted.buckets:
            tasks["bucket", day, timeframe] = partial(_buckets, pipeline, day, timeframe)
    for number, lock in enumerate(wanted.locks):
        tasks["lock", number] = partial(pipeline.verify, lock=lock)
    tasks["verify",] = pipeline.verify
    return Readings({name: _tried(task) for name, task in tasks.items()})


def _tried(task: Callable[[], Any]) -> Any:
    try:
        return task()
    except MarketPipeError as error:
        return error


def _buckets(pipeline: Pipeline, day: Day, timeframe: str) -> list[Row]:
    source = {"source": "minutes"} if timeframe == "1d" else {}
    return in_table(pipeline.load([day[0]], day[1], day[1], timeframe, complete="ignore", **source))


def by_day(table: pa.Table) -> Bars:
    found = dict[Day, list[Row]]()
    for symbol, row in zip(table["symbol"].to_pylist(), in_table(table), strict=True):
        found.setdefault((symbol, date_of(row[0])), []).append(row)
    return found


def only(bars: Bars, days: Iterable[Day]) -> Bars:
    return {day: bars[day] for day in days if bars.get(day)}
