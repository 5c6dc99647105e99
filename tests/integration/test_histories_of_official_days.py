"""The histories of official days: verify names one that is not what was written, and as_of does not answer from it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.integrity import Damage
from marketpipe.storage.infrastructure.official.official_history import FIRST_LINE, OWNER
from marketpipe.testing import FakeClock, bar
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import Row, ScriptedProvider

FRIDAY, MONDAY = "2024-03-08", "2024-03-11"
FIRST_EVENING, BETWEEN, NEXT_EVENING = "2024-03-12T02:00:00Z", "2024-03-12T12:00:00Z", "2024-03-13T02:00:00Z"
HISTORY = "revisions/symbol=AAPL/year=2024/known_since.csv"
OF_MSFT = HISTORY.replace("AAPL", "MSFT")
LOST = "official/symbol=MSFT/year=2024.parquet"
FORMER, NEWEST = [100.5, 100.5], [100.5, 70.5]


def official(date: str, price: float = 100.0) -> Row:
    return bar(str(TradingDate.parse(date).midnight), price)


def market(monday: float = 100.0) -> ScriptedProvider:
    bars = {symbol: {date: minutes(date, 5) for date in (FRIDAY, MONDAY)} for symbol in ("AAPL", "MSFT")}
    days = {symbol: {date: official(date) for date in (FRIDAY, MONDAY)} for symbol in ("AAPL", "MSFT")}
    days["AAPL"][MONDAY] = official(MONDAY, monday)
    return ScriptedProvider(bars, official=days)


def opened(root: Path, at: str = NEXT_EVENING, monday: float = 70.0) -> Pipeline:
    settings = config(root, ("AAPL", "MSFT"), FRIDAY, MONDAY, official_path=root / "official")
    return pipeline(settings, market(monday), FakeClock(at))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    with opened(root, FIRST_EVENING, 100.0) as store:
        assert store.ingest().ok
    with opened(root) as store:
        assert store.update().official.changed
        assert store.verify().ok
        assert (closes(store, BETWEEN), closes(store)) == (FORMER, NEWEST)
    return root


@pytest.fixture
def root(tmp_path: Path, template: Path) -> Path:
    return shutil.copytree(template, tmp_path / "store")


def closes(store: Pipeline, as_of: str | None = None) -> list[float]:
    days = store.load("AAPL", FRIDAY, MONDAY, "1d", source="official", as_of=as_of, complete="ignore")
    found: list[float] = days["close"].to_pylist()
    return found


def in_its_place(put: Callable[[Path], Any]) -> Callable[[Path], Any]:
    def replace(path: Path) -> None:
        path.unlink()
        put(path)

    return replace


def _edited(path: Path) -> None:
    """Change a price, and the checksum with it."""
    lines = path.read_bytes().split(b"\n", 1)[1].replace(b",70.5,", b",69.5,")
    path.write_bytes(FIRST_LINE % sha256(lines).hexdigest().encode() + lines)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def _of_another_symbol(path: Path) -> None:
    shutil.copyfile(str(path).replace("AAPL", "MSFT"), path)


DAMAGES: dict[str, tuple[Callable[[Path], Any], Damage]] = {
    "lost": (Path.unlink, Damage.GONE),
    "edited": (_edited, Damage.ALTERED),
    "cut": (_cut, Damage.UNREADABLE),
    "of another symbol": (_of_another_symbol, Damage.MISLABELLED),
    "link to itself": (in_its_place(lambda path: path.symlink_to(path.name)), Damage.UNREADABLE),
    "link to nowhere": (in_its_place(lambda path: path.symlink_to("/nowhere/at/all")), Damage.UNREADABLE),
    "folder": (in_its_place(Path.mkdir), Damage.UNREADABLE),
    "pipe": (in_its_place(os.mkfifo), Damage.UNREADABLE),
}


@pytest.mark.parametrize("change", DAMAGES)
def test_a_damaged_history_is_named_hides_nothing_and_answers_nothing(root: Path, change: str) -> None:
    damage, kind = DAMAGES[change]
    damage(root / HISTORY)
    (root / LOST).unlink()

    with opened(root) as store:
        found = {problem.path: problem.damage for problem in store.verify().problems}
        assert found == {HISTORY: kind, LOST: Damage.GONE}
        assert closes(store) == NEWEST
        with pytest.raises(PartitionUnreadableError, match="comes back from a backup only"):
            closes(store, BETWEEN)


@pytest.mark.parametrize("change", [change for change in DAMAGES if change != "folder"])
def test_the_next_official_days_begin_a_history_that_tells_nothing_of_the_time_before(root: Path, change: str) -> None:
    DAMAGES[change][0](root / HISTORY)

    with opened(root, "2024-03-14T02:00:00Z") as store:
        assert store.update().ok
        assert store.verify().ok
        assert closes(store, NEXT_EVENING) == NEWEST
        with pytest.raises(PartitionUnreadableError, match=f"had to begin anew at {NEXT_EVENING}"):
            closes(store, BETWEEN)
    with opened(root, "2024-03-15T02:00:00Z", 60.0) as store:
        assert store.update().official.changed
        assert closes(store, NEXT_EVENING) == NEWEST
        assert closes(store) == [100.5, 60.5]
        with pytest.raises(PartitionUnreadableError, match=f"had to begin anew at {NEXT_EVENING}"):
            closes(store, BETWEEN)


def test_a_lost_history_of_a_file_that_is_not_believed_begins_now(root: Path) -> None:
    (root / HISTORY).unlink()
    (root / LOST.replace("MSFT", "AAPL")).unlink()

    with opened(root, "2024-03-14T02:00:00Z") as store:
        assert store.update().ok
        with pytest.raises(PartitionUnreadableError, match="had to begin anew at 2024-03-14T02:00:00Z"):
            closes(store, NEXT_EVENING)
        assert closes(store, "2024-03-14T03:00:00Z") == NEWEST


def make_as_before(root: Path) -> None:
    """Let the histories name no owner, as those of an earlier version."""
    for history in (root / HISTORY, root / OF_MSFT):
        lines = history.read_bytes().split(b"\n", 2)[2]
        assert OWNER not in lines
        history.write_bytes(FIRST_LINE % sha256(lines).hexdigest().encode() + lines)


def test_histories_of_an_earlier_version_are_read_and_recorded(root: Path) -> None:
    make_as_before(root)
    with opened(root) as store:
        store.recover(force=True)  # a state without digests of histories
        assert store.verify().ok
        assert (closes(store, BETWEEN), closes(store)) == (FORMER, NEWEST)
        shutil.copyfile(root / OF_MSFT, root / HISTORY)
        assert [problem.damage for problem in store.verify().problems] == [Damage.ALTERED]


def test_a_recovered_state_has_the_digests_of_sound_histories(root: Path) -> None:
    _cut(root / OF_MSFT)
    with opened(root) as store:
        assert store.recover(force=True).official_days == 2
        assert [problem.path for problem in store.verify().problems if "known_since" in problem.path] == [OF_MSFT]
        (root / HISTORY).unlink()
        assert HISTORY in {problem.path for problem in store.verify().problems}
        with pytest.raises(PartitionUnreadableError, match="was recorded, and does not exist"):
            closes(store, BETWEEN)


def test_the_history_of_a_dropped_symbol_stays_and_is_recorded(root: Path) -> None:
    with opened(root, "2024-03-14T02:00:00Z") as store:
        store.drop("AAPL")
        assert store.verify().ok
        assert closes(store, BETWEEN) == FORMER
        _cut(root / HISTORY)
        assert [problem.path for problem in store.verify().problems] == [HISTORY]


def test_a_link_to_itself_in_the_place_of_a_folder_hides_no_damage_beside_it(root: Path) -> None:
    folder = root / "official" / "symbol=AAPL"
    shutil.rmtree(folder)
    folder.symlink_to(folder.name)
    (root / LOST).unlink()

    with opened(root) as store:
        found = {problem.path: problem.damage for problem in store.verify().problems}

    assert found["official/symbol=AAPL"] is Damage.FOREIGN
    assert "official/symbol=AAPL/year=2024.parquet" in found
    assert found[LOST] is Damage.GONE


@pytest.mark.parametrize("put", [os.mkfifo, Path.touch])
@pytest.mark.parametrize("area", ["official", "aggregates", "quarantine", "revisions"])
def test_what_is_in_the_place_of_a_whole_area_hides_no_damage_elsewhere(
    root: Path, area: str, put: Callable[[Path], Any]
) -> None:
    shutil.rmtree(root / area, ignore_errors=True)
    put(root / area)
    day = root / "data" / "symbol=MSFT" / "year=2024" / "month=03" / "day=08.parquet"
    day.unlink()

    with opened(root) as store:
        found = {problem.path: problem.damage for problem in store.verify().problems}

    assert found[area] is Damage.FOREIGN
    assert found[day.relative_to(root).as_posix()] is Damage.GONE
