"""Files of a store with flipped, lost and added bytes cause only our own errors, and all of them can be repaired."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe import MarketPipeError, Pipeline
from marketpipe.testing import bar
from tests.support.examples import ALL, tries_more
from tests.support.in_process_cli import within
from tests.support.nasty import Edit, damaged, damages, fuzzed
from tests.support.pipeline_ring import TUESDAY, WEDNESDAY, config, contents, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

pytestmark = pytest.mark.slow
SYMBOLS = ["AAPL", "MSFT"]
PROVIDER = ScriptedProvider(
    {
        symbol: {
            TUESDAY: [*minutes(TUESDAY, 30), bar(f"{TUESDAY}T16:00:00Z", high=1.0)],
            WEDNESDAY: minutes(WEDNESDAY, 30, price=101.0),
        }
        for symbol in SYMBOLS
    }
)
DAY = "data/symbol=AAPL/year=2024/month=01/day=02.parquet"
AGGREGATES = [
    "aggregates/timeframe=5m/symbol=AAPL/year=2024/month=01.parquet",
    "aggregates/timeframe=1d/symbol=AAPL/year=2024.parquet",
]
QUARANTINED = DAY.replace("data/", "quarantine/")
READS: dict[str, Callable[[Pipeline], object]] = {
    "aggregate": lambda store: store.aggregate(),
    "audit": lambda store: store.audit(start=TUESDAY),
    "coverage": lambda store: store.coverage(),
    "freeze": lambda store: store.freeze(),
    "load minutes": lambda store: store.load("AAPL", TUESDAY, WEDNESDAY),
    "load days": lambda store: store.load("AAPL", TUESDAY, WEDNESDAY, "1d"),
    "load the past": lambda store: store.load("AAPL", TUESDAY, WEDNESDAY, "5m", as_of="2030-01-01T00:00:00Z"),
    "plan": lambda store: store.plan(),
    "query": lambda store: store.query("SELECT symbol, max(high), sum(volume) FROM bars GROUP BY ALL"),
    "query days": lambda store: store.query("SELECT * FROM bars_1d"),
    "validate": lambda store: store.validate(),
}


def opened(root: Path) -> Pipeline:
    return pipeline(config(root, SYMBOLS, TUESDAY, WEDNESDAY, timeframes=["5m", "1d"], workers=1), PROVIDER)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    with opened(root) as store:
        assert store.ingest().ok
    return root


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work") / "store"


def stored_bars(root: Path) -> dict[str, str]:
    return {name: digest for name, digest in contents(root).items() if name.startswith("data")}


def hostile(content: bytes) -> list[bytes]:
    """Return hostile files: footers that announce more than the file has, and nearly empty files."""
    length = struct.unpack("<I", content[-8:-4])[0]
    footer, head = content[-8 - length : -8], content[: -8 - length]
    ends = [
        struct.pack("<I", wrong) + b"PAR1" for wrong in (0, 1, length - 1, length + 1, len(content), 2**31, 2**32 - 1)
    ]
    huge = [
        footer.replace(b"\x15\x3c", b"\x15" + number, 1) for number in (b"\xfe\xff\xff\xff\x0f", b"\xff" * 9 + b"\x01")
    ]
    nested = b"\x1c" * 20_000
    bodies = [*huge, b"\x19\xfc\xff\xff\xff\xff\x07" + footer, nested, b"", footer * 3]
    return [
        *(head + footer + end for end in ends),
        *(head + body + struct.pack("<I", len(body)) + b"PAR1" for body in bodies),
        *(b"", b"P", b"PAR1", b"PAR1PAR1", b"PARE" + content[4:-4] + b"PARE", b"\0" * len(content), content * 2),
    ]


def put(path: Path, content: bytes, *, looks_the_same: bool) -> None:
    """Write ``content``; ``looks_the_same`` keeps the modification time, as after a silent failure of the disk."""
    before = path.stat()
    path.write_bytes(content)
    if looks_the_same:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def damage(work: Path, whole: Path, name: str, content: bytes, *, looks_the_same: bool) -> None:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(whole, work)
    put(work / name, content, looks_the_same=looks_the_same)


def use(store: Pipeline, reads: list[str]) -> None:
    for read in reads:
        with suppress(MarketPipeError):
            READS[read](store)


def check_day_is_healed(work: Path, whole: Path, content: bytes, *, looks_the_same: bool, reads: list[str]) -> None:
    damage(work, whole, DAY, content, looks_the_same=looks_the_same)
    with within(60), opened(work) as store:
        use(store, reads)
        assert store.verify().ok is (contents(work) == contents(whole))
        store.ingest()
        assert contents(work) == contents(whole)
        assert store.coverage().ok
        assert store.verify().ok


@fuzzed(20)
@given(edits=damages, looks_the_same=st.booleans(), reads=st.lists(st.sampled_from(sorted(READS)), max_size=2))
def test_any_damage_to_a_day_file_is_an_error_until_it_is_repaired(
    work: Path, whole: Path, edits: list[Edit], looks_the_same: bool, reads: list[str]
) -> None:
    content = damaged((whole / DAY).read_bytes(), edits)
    check_day_is_healed(work, whole, content, looks_the_same=looks_the_same, reads=reads)


@fuzzed(10)
@given(
    edits=damages,
    name=st.sampled_from([*AGGREGATES, QUARANTINED]),
    reads=st.lists(st.sampled_from(sorted(READS)), max_size=2),
)
def test_damage_to_other_files_is_named_and_touches_no_day_file(
    work: Path, whole: Path, edits: list[Edit], name: str, reads: list[str]
) -> None:
    """Whether aggregates and quarantine are the same bytes, of which no checksum is recorded: see ADR 0011."""
    damage(work, whole, name, damaged((whole / name).read_bytes(), edits), looks_the_same=True)
    with within(60), opened(work) as store:
        use(store, reads)
        found = {problem.path for problem in store.verify().problems}
        assert found <= {name}
        store.ingest()
        if found and name in AGGREGATES:
            assert contents(work) == contents(whole)
            assert store.verify().ok
        assert stored_bars(work) == stored_bars(whole)


@tries_more
def test_hostile_files_are_errors_until_they_are_repaired(work: Path, whole: Path) -> None:
    turn = cycle(sorted(READS))
    for content in hostile((whole / DAY).read_bytes())[:: 1 if ALL else 3]:
        check_day_is_healed(work, whole, content, looks_the_same=False, reads=[next(turn), "load minutes"])
