from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from attrs import define, field

from marketpipe.shared_kernel.domain.errors import StorageError, StoreBusyError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.storage.application.month_compactor import MonthCompactor
from marketpipe.storage.domain.compaction import CompactedMonth, Condition, RecordedIn
from marketpipe.storage.domain.data_partition import MonthPartition
from tests.support.builders import day
from tests.support.store_on_disk import IDENTITY, NothingRecorded
from tests.unit.storage.application.test_month_compactor import Forms

AAPL, MSFT, TSLA = MONTHS = [MonthPartition(Symbol(symbol), 2024, 1) for symbol in ("AAPL", "MSFT", "TSLA")]


@define
class Together:
    """``MonthsTogether`` that confirms, and fails with ``error`` then."""

    error: Exception | None = None
    asked: list[tuple[Sequence[MonthPartition], bool]] = field(factory=list)

    def batches(self, months: Iterable[MonthPartition]) -> Iterator[Sequence[MonthPartition]]:
        yield [*months]

    def compact(
        self,
        months: Sequence[MonthPartition],
        recorded: RecordedIn,
        identity: DatasetIdentity,
        confirm: Callable[[], None],
        *,
        dry_run: bool,
    ) -> Iterator[CompactedMonth]:
        if months:
            self.asked.append((months, dry_run))
        confirm()
        if self.error:
            raise self.error
        yield from (CompactedMonth(month, Condition.CHANGED, 21, 1, 100, 90) for month in months)


@define
class Leasing:
    """Leases days, but those that are ``busy``. A lease that is lost cannot be confirmed."""

    busy: frozenset[SymbolDay] = frozenset()
    is_lost: bool = False
    leased: list[SymbolDay] = field(factory=list)

    @contextmanager
    def __call__(self, days: Collection[SymbolDay]) -> Iterator[tuple[Collection[SymbolDay], Callable[[], None]]]:
        self.leased += days
        yield self.busy, self._confirm

    def _confirm(self) -> None:
        if self.is_lost:
            raise StoreBusyError("the lease ran out")


def done(
    together: Together,
    leasing: Leasing,
    forms: Forms | None = None,
    left: dict[MonthPartition, str] | None = None,
    *,
    dry_run: bool = False,
) -> list[tuple[MonthPartition, Condition, str | None]]:
    made = MonthCompactor(forms or Forms(), NothingRecorded(), lambda: False)
    found = made.compact_together(MONTHS, together, IDENTITY, leasing, left or {}, dry_run=dry_run)
    return [(each.month, each.condition, each.reason) for each in found]


def test_all_days_of_the_months_are_leased_together() -> None:
    together, leasing = Together(), Leasing()
    assert done(together, leasing) == [(month, Condition.CHANGED, None) for month in MONTHS]
    assert together.asked == [(MONTHS, False)]
    assert len(leasing.leased) == 3 * 31


def test_a_busy_month_is_skipped_and_those_that_are_left_are_not_leased() -> None:
    together, leasing = Together(), Leasing(frozenset({day("MSFT", "2024-01-20")}))
    found = done(together, leasing, left={TSLA: "it is running"})
    busy = "another process works on MSFT 2024-01-20; try again when it has ended"
    assert sorted(found, key=lambda each: each[0]) == [
        (AAPL, Condition.CHANGED, None),
        (MSFT, Condition.SKIPPED, busy),
        (TSLA, Condition.SKIPPED, "it is running"),
    ]
    assert {each.symbol for each in leasing.leased} == {Symbol("AAPL"), Symbol("MSFT")}


def test_a_dry_run_and_single_files_need_no_lease() -> None:
    together, leasing = Together(), Leasing()
    done(together, leasing, dry_run=True)
    done(together, leasing, Forms(single={*MONTHS}))
    assert together.asked == [(MONTHS, True), (MONTHS, True)]
    assert leasing.leased == []


@pytest.mark.parametrize(
    ("together", "leasing", "condition", "reason"),
    [
        (Together(), Leasing(is_lost=True), Condition.SKIPPED, "the lease ran out"),
        (Together(StorageError("no answer")), Leasing(), Condition.FAILED, "no answer"),
    ],
    ids=["lost-lease", "failing-store"],
)
def test_an_object_that_cannot_be_put_leaves_its_months_as_they_are(
    together: Together, leasing: Leasing, condition: Condition, reason: str
) -> None:
    assert done(together, leasing) == [(month, condition, reason) for month in MONTHS]
