from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import pytest
from attrs import define, evolve, field

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.store_inventory import NO_MARK, DatasetIdentity, RecordedVersion
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import DISTANT_FUTURE, DISTANT_PAST, TradingDate
from marketpipe.shared_kernel.events import StoredSymbolDay
from marketpipe.storage.application.integrity_checker import IntegrityChecker
from marketpipe.storage.domain.dataset_lock import LockedFile
from marketpipe.storage.domain.integrity import CheckedFile, Damage, IntegrityProblem, IntegrityReport, StoreArea

AAPL, DATE = Symbol("AAPL"), TradingDate.parse("2024-01-02")
IDENTITY = DatasetIdentity("alpaca", "sip", "raw")
SINCE, LATER = Timestamp.parse("2024-01-03T00:00:00Z"), Timestamp.parse("2024-01-04T00:00:00Z")
GOOD, BAD = "ab" * 32, "cd" * 32
RECORDED = RecordedVersion("a mark", SINCE, GOOD)
FILE = CheckedFile(StoreArea.DATA, "data/x.parquet", AAPL, DATE, (DATE, DATE), 100, "a mark", SINCE, GOOD, IDENTITY)
AGGREGATE = evolve(FILE, area=StoreArea.AGGREGATES, path="aggregates/x.parquet", trading_date=None)


@define
class Files:
    """``later``: what is found if a file is read again, the last of which stays; None: no file."""

    found: Sequence[CheckedFile]
    later: list[CheckedFile | None] = field(factory=list)
    invalidated: list[str] = field(factory=list)

    def symbols(self) -> frozenset[Symbol]:
        return frozenset(file.symbol for file in self.found)

    def strays(self) -> Sequence[str]:
        return ["data/stray"]

    def strays_of(self, symbol: Symbol) -> Sequence[str]:
        return []

    def month_problems(self, *_: object) -> Sequence[IntegrityProblem]:
        return []

    def index_problem(self, symbol: Symbol) -> IntegrityProblem | None:
        return None

    def paths(self, symbol: Symbol) -> Sequence[str]:
        return [file.path for file in self.found]

    def check(
        self, symbol: Symbol, first: TradingDate, last: TradingDate, *areas: StoreArea, proven: Collection[str] = ()
    ) -> Iterator[CheckedFile]:
        return (file for file in self.found if file.symbol == symbol)

    def read_again(self, day: SymbolDay) -> CheckedFile | None:
        if not self.later:
            return next((file for file in self.found if file.symbol_day == day), None)
        return self.later.pop(0) if len(self.later) > 1 else self.later[0]

    def invalidate(self, aggregate: CheckedFile) -> None:
        self.invalidated.append(aggregate.path)

    def stored_days(self, symbol: Symbol, identity: DatasetIdentity) -> Iterator[StoredSymbolDay]:
        return iter(())


@define
class Register:
    """Answers with ``recorded``, the last of which stays."""

    recorded: list[dict[TradingDate, RecordedVersion]]
    suspect: dict[TradingDate, str] = field(factory=dict)

    def symbols(self) -> frozenset[Symbol]:
        return frozenset({AAPL} if self.recorded[0] else ())

    def versions(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[TradingDate, RecordedVersion]:
        return self.recorded.pop(0) if len(self.recorded) > 1 else self.recorded[0]

    def mark_suspect(self, symbol: Symbol, reasons: Mapping[TradingDate, str]) -> None:
        self.suspect.update(reasons)


NOTHING = frozenset[SymbolDay]()


def check(files: Files, register: Register, *writing: frozenset[SymbolDay]) -> IntegrityReport:
    """``writing``: the days that an ingestion is writing whenever that is asked, the last of which stays."""
    answers = [*writing] or [NOTHING]

    def being_written(days: Collection[SymbolDay]) -> frozenset[SymbolDay]:
        return frozenset(days) & (answers.pop(0) if len(answers) > 1 else answers[0])

    return IntegrityChecker(files, register, IDENTITY, being_written).check([AAPL], DISTANT_PAST, DISTANT_FUTURE)


def freeze(files: Files, register: Register, *writing: SymbolDay) -> list[LockedFile]:
    checker = IntegrityChecker(files, register, IDENTITY, lambda _: frozenset(writing))
    return list(checker.freeze([AAPL], DISTANT_PAST, DISTANT_FUTURE, None).files)


def damages(report: IntegrityReport) -> list[Damage]:
    return [problem.damage for problem in report.problems]


def test_a_file_with_the_recorded_bytes_is_no_problem() -> None:
    report = check(Files([FILE, AGGREGATE]), Register([{DATE: RECORDED}]))

    assert (report.ok, report.files, report.size_bytes) == (True, 2, 200)


def test_only_damage_under_the_recorded_mark_makes_a_day_suspect() -> None:
    for file, suspect in ((FILE, 1), (evolve(FILE, mark="another mark"), 0)):
        register = Register([{DATE: RECORDED}])
        report = check(Files([evolve(file, sha256=BAD)]), register)

        assert (damages(report), report.suspect, len(register.suspect)) == ([Damage.ALTERED], suspect, suspect)


def test_an_altered_file_is_reported_with_both_sizes_if_they_differ() -> None:
    for mark, size in (("7043-1", ", 7,045 bytes instead of 7,043"), ("7045-1", ""), (NO_MARK, "")):
        register = Register([{DATE: evolve(RECORDED, mark=mark)}])
        report = check(Files([evolve(FILE, sha256=BAD, size_bytes=7045, mark="7045-2")]), register)

        assert [found.reason for found in report.problems] == [f"its bytes are not those that were recorded{size}"]


def test_a_file_that_an_ingestion_has_just_replaced_is_no_problem() -> None:
    newer = evolve(FILE, sha256=BAD, mark="another mark")

    assert check(Files([newer]), Register([{DATE: RECORDED}, {DATE: RecordedVersion("another mark", LATER, BAD)}])).ok
    assert check(Files([newer]), Register([{}, {DATE: RecordedVersion("another mark", LATER, BAD)}])).ok


def test_a_recorded_file_that_is_missing_is_gone_and_a_file_without_a_record_is_unrecorded() -> None:
    assert damages(check(Files([]), Register([{DATE: RECORDED}]))) == [Damage.GONE]
    assert damages(check(Files([FILE]), Register([{}]))) == [Damage.UNRECORDED]


def test_another_dataset_is_mislabelled_though_the_bytes_are_the_recorded_ones() -> None:
    stranger = evolve(FILE, identity=DatasetIdentity("alpaca", "iex", "raw"))

    assert damages(check(Files([stranger]), Register([{DATE: RECORDED}]))) == [Damage.MISLABELLED]


def test_a_damaged_aggregate_is_invalidated() -> None:
    files = Files([evolve(AGGREGATE, problem=AGGREGATE.problem_with(Damage.UNREADABLE, "is damaged"))])

    assert damages(check(files, Register([{}]))) == [Damage.UNREADABLE]
    assert files.invalidated == [AGGREGATE.path]


def test_files_that_belong_to_no_symbol_are_reported_if_no_symbol_is_given() -> None:
    checker = IntegrityChecker(Files([]), Register([{}]), IDENTITY, lambda _: NOTHING)

    assert damages(checker.check(None, DISTANT_PAST, DISTANT_FUTURE)) == [Damage.FOREIGN]
    assert checker.check([AAPL], DISTANT_PAST, DISTANT_FUTURE).ok


DAY = SymbolDay(AAPL, DATE)
NEWER = evolve(FILE, sha256=BAD, mark="a newer mark", modified=LATER)
NEWER_RECORD = RecordedVersion("a newer mark", LATER, BAD)


def test_a_file_between_its_publication_and_its_checkpoint_is_no_problem() -> None:
    assert check(Files([NEWER]), Register([{DATE: RECORDED}]), frozenset({DAY})).ok
    assert check(Files([FILE]), Register([{}]), frozenset({DAY})).ok


def test_a_checkpoint_that_was_lost_is_found_when_nothing_is_running() -> None:
    assert damages(check(Files([NEWER]), Register([{DATE: RECORDED}]))) == [Damage.ALTERED]
    assert damages(check(Files([FILE]), Register([{}]))) == [Damage.UNRECORDED]


def test_rot_is_found_even_if_the_day_is_being_written() -> None:
    rotten = evolve(FILE, sha256=BAD)

    assert damages(check(Files([rotten]), Register([{DATE: RECORDED}]), frozenset({DAY}))) == [Damage.ALTERED]


def test_a_file_that_was_replaced_and_recorded_after_it_was_read_is_read_again() -> None:
    """Its record is newer than what was read: it is the file that is behind, and not the record."""
    files = Files([evolve(NEWER, sha256="ef" * 32, mark="in between")], later=[NEWER])

    assert check(files, Register([{DATE: RECORDED}, {DATE: NEWER_RECORD}])).ok


def test_a_file_that_was_replaced_since_is_read_a_third_time() -> None:
    between = evolve(NEWER, sha256="ef" * 32, mark="in between")
    files = Files([NEWER], later=[between, between])

    assert damages(check(files, Register([{DATE: RECORDED}]))) == [Damage.ALTERED]
    assert check(Files([NEWER], later=[between, FILE]), Register([{DATE: RECORDED}])).ok


def test_a_lost_file_is_read_again() -> None:
    assert check(Files([], later=[FILE]), Register([{DATE: RECORDED}])).ok
    assert check(Files([]), Register([{DATE: RECORDED}, {}])).ok


def test_a_freeze_is_not_refused_for_a_file_between_its_publication_and_its_checkpoint() -> None:
    locked = [LockedFile(NEWER.path, NEWER.size_bytes, NEWER.sha256)]

    assert freeze(Files([NEWER]), Register([{DATE: RECORDED}]), DAY) == locked
    assert freeze(Files([NEWER]), Register([{DATE: RECORDED}, {DATE: NEWER_RECORD}])) == locked
    assert freeze(Files([NEWER]), Register([{}])) == locked


@pytest.mark.parametrize(
    "file", [NEWER, evolve(FILE, sha256=BAD), evolve(NEWER, problem=NEWER.problem_with(Damage.UNREADABLE, "is cut"))]
)
def test_a_freeze_is_refused_for_damage_that_no_ingestion_explains(file: CheckedFile) -> None:
    writing = [] if file == NEWER else [DAY]

    with pytest.raises(StorageError, match="a damaged store is not frozen"):
        freeze(Files([file]), Register([{DATE: RECORDED}]), *writing)


def test_a_freeze_is_refused_for_a_lost_file_though_it_comes_back() -> None:
    """A lock without it would be a lock of less than the store."""
    with pytest.raises(StorageError, match="does not exist"):
        freeze(Files([], later=[FILE]), Register([{DATE: RECORDED}]), DAY)


def test_a_checkpoint_that_comes_between_two_looks_explains_the_file() -> None:
    """Whatever the reason: an ingestion recorded it after the first look, in which nothing was being written."""
    assert check(Files([FILE]), Register([{}, {}, {DATE: RECORDED}])).ok
    assert damages(check(Files([FILE]), Register([{}]))) == [Damage.UNRECORDED]


class UnreadableFiles(Files):
    """The folder of AAPL cannot be listed."""

    def strays_of(self, symbol: Symbol) -> Sequence[str]:
        if symbol == AAPL:
            raise StorageError("cannot read data/symbol=AAPL: Permission denied")
        return []


def test_a_symbol_whose_folder_cannot_be_read_is_a_problem_and_the_others_are_checked() -> None:
    other = evolve(FILE, symbol=Symbol("MSFT"), path="data/y.parquet", sha256=BAD)
    checker = IntegrityChecker(
        UnreadableFiles([FILE, other]), Register([{DATE: RECORDED}]), IDENTITY, lambda _: frozenset()
    )
    report = checker.check(None, DISTANT_PAST, DISTANT_FUTURE)

    problems = {problem.path: problem.damage for problem in report.problems}
    assert problems["data/symbol=AAPL"] is Damage.UNREADABLE
    assert problems["data/y.parquet"] is Damage.ALTERED
    assert "Permission denied" in str([problem.reason for problem in report.problems])
