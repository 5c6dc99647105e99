from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import pytest
from attrs import define, field

from marketpipe.shared_kernel.domain.errors import ConfigurationError, StorageError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, RecordedVersion
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import DISTANT_FUTURE, DISTANT_PAST, TradingDate
from marketpipe.storage.application.month_compactor import MonthCompactor, days_of
from marketpipe.storage.domain.compaction import CompactedMonth, CompactionReport, Condition, reason_to_leave
from marketpipe.storage.domain.data_partition import MonthPartition
from tests.support.builders import day
from tests.support.store_on_disk import IDENTITY, NothingRecorded

JANUARY, FEBRUARY, MARCH = (MonthPartition(Symbol("AAPL"), 2024, number) for number in (1, 2, 3))
MONTHS = [JANUARY, FEBRUARY, MARCH]


def date(text: str) -> TradingDate:
    return TradingDate.parse(text)


@define
class Forms:
    """``MonthForms`` that do nothing but fail for some months."""

    failing: Mapping[MonthPartition, Exception] = field(factory=dict)
    asked: list[MonthPartition] = field(factory=list)
    single: set[MonthPartition] = field(factory=set)
    expanded: list[MonthPartition] = field(factory=list)

    def months(self, symbol: Symbol) -> Sequence[MonthPartition]:
        return MONTHS

    def has_several_files(self, month: MonthPartition) -> bool:
        return month not in self.single

    def compact(
        self,
        month: MonthPartition,
        recorded: Mapping[TradingDate, RecordedVersion],
        identity: DatasetIdentity,
        *,
        dry_run: bool,
    ) -> CompactedMonth | None:
        return self._changed(month)

    def expand(self, month: MonthPartition, recorded: object, *, dry_run: bool) -> CompactedMonth | None:
        self.expanded += [] if dry_run else [month]
        return self._changed(month)

    def sweep(self) -> None:
        """Do nothing."""

    def _changed(self, month: MonthPartition) -> CompactedMonth:
        self.asked.append(month)
        if error := self.failing.get(month):
            raise error
        return CompactedMonth(month, Condition.CHANGED, 21, 1, 100, 90)


def compactor(forms: Forms, is_stopped: Callable[[], bool] = lambda: False) -> MonthCompactor:
    return MonthCompactor(forms, NothingRecorded(), is_stopped)


@pytest.mark.parametrize(
    ("today", "settled"),
    [
        ("2024-02-07", []),
        ("2024-02-08", [JANUARY]),
        ("2024-03-07", [JANUARY]),
        ("2024-03-08", [JANUARY, FEBRUARY]),
        ("2025-01-01", MONTHS),
    ],
)
def test_a_month_is_settled_when_more_than_a_week_has_passed(today: str, settled: list[MonthPartition]) -> None:
    reasons = {month: reason_to_leave(month, DISTANT_PAST, DISTANT_FUTURE, date(today)) for month in MONTHS}

    assert [month for month, reason in reasons.items() if reason is None] == settled
    assert all("and is settled a week later" in reason for reason in reasons.values() if reason)


def test_only_months_that_lie_between_the_dates_are_compacted() -> None:
    dates = date("2024-01-02"), date("2024-02-29"), date("2025-01-01")

    assert reason_to_leave(FEBRUARY, *dates) is None
    for month in (JANUARY, MARCH):
        assert reason_to_leave(month, *dates) == "only a part of it is between the dates that were given"


def test_months_that_are_left_are_named_unless_they_have_a_single_file() -> None:
    forms = Forms(single={MARCH})
    left = {JANUARY: "it is running", MARCH: "it is running"}
    done = list(compactor(forms).compact(MONTHS, IDENTITY, (), left, dry_run=False))

    assert [(each.month, each.condition) for each in done] == [
        (JANUARY, Condition.SKIPPED),
        (FEBRUARY, Condition.CHANGED),
    ]
    assert (done[0].reason, forms.asked) == ("it is running", [FEBRUARY])


def test_a_month_of_which_a_part_lies_between_the_dates_is_named_and_not_expanded() -> None:
    forms = Forms()
    months = compactor(forms).overlapping(Symbol("AAPL"), date("2024-01-31"), date("2024-02-29"))
    done = list(compactor(forms).expand(months, {JANUARY: "only a part"}, dry_run=False))

    assert [(each.month, each.condition, each.reason) for each in done] == [
        (JANUARY, Condition.SKIPPED, "only a part"),
        (FEBRUARY, Condition.CHANGED, None),
    ]
    assert forms.expanded == [FEBRUARY]


def test_a_month_with_a_busy_day_is_skipped_and_named() -> None:
    forms = Forms()
    done = list(compactor(forms).compact(MONTHS, IDENTITY, [day("AAPL", "2024-02-20")], {}, dry_run=False))

    assert [each.condition for each in done] == [Condition.CHANGED, Condition.SKIPPED, Condition.CHANGED]
    assert done[1].reason == "another process works on AAPL 2024-02-20; try again when it has ended"
    assert forms.asked == [JANUARY, MARCH]


def test_a_month_that_fails_holds_up_no_other_and_a_wrong_configuration_ends_all() -> None:
    failing = Forms({JANUARY: StorageError("no space"), FEBRUARY: ConfigurationError("another file system")})
    months = compactor(failing).compact(MONTHS, IDENTITY, (), {}, dry_run=False)

    first = next(months)
    assert (first.condition, first.reason) == (Condition.FAILED, "no space")
    with pytest.raises(ConfigurationError, match="another file system"):
        next(months)


@pytest.mark.parametrize(("stopped_in", "is_cut_short"), [(JANUARY, True), (FEBRUARY, True), (MARCH, False)])
@pytest.mark.parametrize("undo", [False, True])
def test_a_stop_leaves_out_the_months_that_have_not_begun(
    stopped_in: MonthPartition, is_cut_short: bool, undo: bool
) -> None:
    forms = Forms()
    stopping = compactor(forms, lambda: stopped_in in forms.asked)
    work = partial(stopping.expand, left={}, dry_run=False) if undo else partial(_compact, stopping)

    assert [each.month for each in work(MONTHS)] == MONTHS[: MONTHS.index(stopped_in) + 1]
    assert stopping.is_cut_short is is_cut_short


def _compact(made: MonthCompactor, months: Iterable[MonthPartition]) -> Iterable[CompactedMonth]:
    return made.compact(months, IDENTITY, (), {}, dry_run=False)


def test_the_days_of_months_are_all_of_them() -> None:
    days = days_of([JANUARY, FEBRUARY])

    assert len(days) == 31 + 29
    assert (days[0], days[-1]) == (day("AAPL", "2024-01-01"), day("AAPL", "2024-02-29"))


def test_a_report_adds_up_what_has_changed() -> None:
    changed = CompactedMonth(JANUARY, Condition.CHANGED, 21, 1, 100, 90)
    skipped = CompactedMonth.skipped(FEBRUARY, "busy")
    report = CompactionReport((changed, skipped, CompactedMonth(MARCH, Condition.UNCHANGED)))

    assert (report.files_before, report.files_after, report.bytes_before, report.bytes_after) == (21, 1, 100, 90)
    assert report.left == (skipped,)
    assert report.ok
    assert not CompactionReport((CompactedMonth.failed(MARCH, StorageError("x")),)).ok
    assert not CompactionReport((), stopped=True).ok
    assert not CompactionReport((CompactedMonth(MARCH, Condition.CHANGED, reason="2 days cannot be read"),)).ok
