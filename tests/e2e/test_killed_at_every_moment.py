"""The real command line, killed with SIGKILL after calls that change what the next run finds, and run again.

A run has some hundred such moments (``tests.support.dying_cli``). One of 64 is tried by default (of a drop, which has
fewer, one of 32), and each time the run after it is killed too, after a random time. CI tries all of them, with
MARKETPIPE_KILL_STRIDE=1 in the environment.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from marketpipe import Timestamp, load_ohlcv
from tests.support.alpaca_loopback import AlpacaLoopback
from tests.support.examples import tries_more
from tests.support.killed_runs import KILLED, DyingCli
from tests.support.small_store import DAYS, SYMBOLS, bars, configure, current, files, known, settled

pytestmark = tries_more

STRIDE = int(os.environ.get("MARKETPIPE_KILL_STRIDE", "64"))
DROP_STRIDE = max(1, STRIDE // 2)
HALVES = (0, 1) if STRIDE == 1 else (0,)
"""If they are many, the moments of a run are dealt out to two tests, which run on different processors."""
AT_MOST_SECONDS = 0.3
"""About as long as a run takes, most of which is spent before it changes anything."""


def moments(half: int) -> range:
    return range(1 + half * STRIDE, 100_000, STRIDE * len(HALVES))


def stored(folder: Path) -> set[tuple[str, str]]:
    """Symbol-days that have their file, whether or not they have a checkpoint yet."""
    data = folder / "data"
    names = {day: f"year={day[:4]}/month={day[5:7]}/day={day[8:]}.parquet" for day in DAYS}
    return {(s, day) for s in SYMBOLS for day in DAYS if (data / f"symbol={s}" / names[day]).exists()}


def asked_for(requests: Sequence[Mapping[str, str]]) -> set[tuple[str, str]]:
    return {
        (symbol, day)
        for query in requests
        for symbol in query["symbols"].split(",")
        for day in DAYS
        if query["start"][:10] <= day <= query["end"][:10]
    }


def requests_of(run: str, provider: AlpacaLoopback) -> list[Mapping[str, str]]:
    """Return the queries of this run: those of the run that was killed before it may be answered after its death."""
    return [query for path, query in zip(provider.paths, provider.requests, strict=False) if path.startswith(f"{run}/")]


@pytest.mark.slow
@pytest.mark.parametrize("half", HALVES)
def test_an_ingestion_killed_at_any_moment_resumes_to_the_same_end(cli: DyingCli, scratch: Path, half: int) -> None:
    random, kills, code = Random(half), 0, KILLED
    with AlpacaLoopback(bars(), page_size=7) as provider:
        whole = configure(scratch / "whole", provider.url)
        assert cli.run(whole, "ingest") == 0
        for moment in moments(half):
            folder = configure(scratch / "killed", provider.url)
            code = cli.run(folder, "ingest", die_at=moment)
            if code != KILLED:
                break
            kills += 1
            for die_after in (random.uniform(0, AT_MOST_SECONDS), None):
                had, run = settled(folder) | stored(folder), f"/run{kills}{'' if die_after else '-again'}"
                code = cli.run(configure(folder, f"{provider.url}{run}"), "ingest", die_after=die_after)
                assert code == 0 or (code == KILLED and die_after), (moment, (folder / "output.txt").read_text())
                assert asked_for(requests_of(run, provider)).isdisjoint(had), moment
                kills += code == KILLED
            assert files(folder) == files(whole), moment
            assert known(folder) == known(whole), moment
            shutil.rmtree(folder)

    assert code == 0
    assert moment > 110, moment


@pytest.mark.slow
@pytest.mark.parametrize("half", HALVES)
def test_an_adoption_killed_at_any_moment_ends_as_if_it_had_not_been(cli: DyingCli, scratch: Path, half: int) -> None:
    adopt = ("audit", "--start", DAYS[0], "--adopt")
    random, kills, code = Random(half), 0, KILLED
    with AlpacaLoopback(bars()) as provider, AlpacaLoopback(bars(200.0)) as restated:
        old, whole = configure(scratch / "old", provider.url), scratch / "whole"
        assert cli.run(old, "ingest") == 0
        shutil.copytree(old, whole)
        assert cli.run(configure(whole, restated.url), *adopt) == 0
        for moment in moments(half):
            folder = scratch / "killed"
            shutil.copytree(old, folder)
            configure(folder, restated.url)
            code = cli.run(folder, *adopt, die_at=moment)
            if code != KILLED:
                break
            kills += 1 + (cli.run(folder, *adopt, die_after=random.uniform(0, AT_MOST_SECONDS)) == KILLED)
            # a death after all days were marked as failed leaves nothing to compare: the ingestion requests them again
            assert cli.run(folder, *adopt) == (0 if settled(folder) else 2), moment
            assert cli.run(folder, "ingest") == 0, moment
            assert cli.run(folder, "verify") == 0, moment
            assert current(folder) == current(whole), moment
            assert known(folder) == known(whole), moment
            assert revised(folder) >= revised(old, root="data"), moment
            shutil.rmtree(folder)

    assert code == 0
    assert moment > 80, moment


@pytest.mark.slow
def test_a_drop_killed_at_any_moment_keeps_every_version_and_ends_with_the_next_one(
    cli: DyingCli, scratch: Path
) -> None:
    dropped, other, kills, code = *SYMBOLS[:2], 0, KILLED
    drop = ("drop", dropped, "--yes")
    with AlpacaLoopback(bars()) as provider:
        old = configure(scratch / "old", provider.url)
        assert cli.run(old, "ingest") == 0
        before, then = load_ohlcv(dropped, DAYS[0], DAYS[-1], root=old), Timestamp(datetime.now(UTC))
        assert before.num_rows
        for moment in range(1, 100_000, DROP_STRIDE):
            folder = scratch / "killed"
            shutil.copytree(old, folder)
            code = cli.run(folder, *drop, die_at=moment)
            if code != KILLED:
                break
            kills += 1
            for _ in range(2):
                assert load_ohlcv(dropped, DAYS[0], DAYS[-1], root=folder, as_of=then).equals(before), moment
                assert load_ohlcv(other, DAYS[0], DAYS[-1], root=folder).equals(
                    load_ohlcv(other, DAYS[0], DAYS[-1], root=old)
                )
                assert cli.run(folder, *drop) == 0, (moment, (folder / "output.txt").read_text())
            assert {path.parts[-1] for path in (folder / "data").iterdir()} == {f"symbol={s}" for s in SYMBOLS} - {
                f"symbol={dropped}"
            }
            assert cli.run(folder, "verify") == 0, moment
            assert dropped not in {symbol for symbol, _ in settled(folder)}, moment
            shutil.rmtree(folder)

    assert code == 0
    assert moment > 50, moment


def revised(folder: Path, root: str = "revisions") -> set[bytes]:
    return {path.read_bytes() for path in (folder / root).rglob("*.parquet")}
