"""The real command line, killed with SIGKILL at moments at which it changes something, and run again.

A run has some five hundred such moments. Every 47th is tried, from another one on in each test; the environment
variable MARKETPIPE_KILL_STRIDE=1 tries them all.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

import pytest

from tests.support.alpaca_loopback import AlpacaLoopback
from tests.support.forked_cli import ForkedCli
from tests.support.small_store import DAYS, bars, configure, current, files, known, settled

KILLED = -signal.SIGKILL
STRIDE = int(os.environ.get("MARKETPIPE_KILL_STRIDE", "47"))
HALVES = (0, 1)
"""The moments of a run are dealt out to two tests, which run on different processors."""


def moments(half: int) -> range:
    return range(1 + half * STRIDE, 100_000, STRIDE * len(HALVES))


class DyingCli(ForkedCli):
    def run(self, folder: Path, *words: str, die_at: int | None = None) -> int:
        return int(self.ask(words=[*words, "--config", "config.yaml"], cwd=str(folder), die_at=die_at)["code"])


@pytest.fixture(scope="module")
def cli() -> Iterator[DyingCli]:
    with DyingCli("dying_cli") as made:
        yield made


def asked_for(requests: Sequence[Mapping[str, str]]) -> set[tuple[str, str]]:
    return {
        (symbol, day)
        for query in requests
        for symbol in query["symbols"].split(",")
        for day in DAYS
        if query["start"][:10] <= day <= query["end"][:10]
    }


@pytest.mark.slow
@pytest.mark.parametrize("half", HALVES)
def test_an_ingestion_killed_at_any_moment_resumes_to_the_same_end(cli: DyingCli, tmp_path: Path, half: int) -> None:
    with AlpacaLoopback(bars(), page_size=7) as provider:
        whole = configure(tmp_path / "whole", provider.url)
        assert cli.run(whole, "ingest") == 0
        kills = 0
        for moment in moments(half):
            folder = configure(tmp_path / "killed", provider.url)
            code = cli.run(folder, "ingest", die_at=moment)
            if code != KILLED:
                break
            kills += 1
            checkpointed, before = settled(folder), len(provider.requests)
            assert cli.run(folder, "ingest") == 0, (moment, (folder / "output.txt").read_text())
            assert asked_for(provider.requests[before:]).isdisjoint(checkpointed), moment
            assert files(folder) == files(whole), moment
            assert known(folder) == known(whole), moment
            shutil.rmtree(folder)

    assert code == 0
    assert kills >= 2


@pytest.mark.slow
@pytest.mark.parametrize("half", HALVES)
def test_an_adoption_killed_at_any_moment_ends_as_if_it_had_not_been(cli: DyingCli, tmp_path: Path, half: int) -> None:
    with AlpacaLoopback(bars()) as provider, AlpacaLoopback(bars(200.0)) as restated:
        old, whole = configure(tmp_path / "old", provider.url), tmp_path / "whole"
        assert cli.run(old, "ingest") == 0
        shutil.copytree(old, whole)
        assert cli.run(configure(whole, restated.url), "audit", "--start", DAYS[0], "--adopt") == 0
        kills = 0
        for moment in moments(half):
            folder = tmp_path / "killed"
            shutil.copytree(old, folder)
            configure(folder, restated.url)
            code = cli.run(folder, "audit", "--start", DAYS[0], "--adopt", die_at=moment)
            if code != KILLED:
                break
            kills += 1
            assert cli.run(folder, "audit", "--start", DAYS[0], "--adopt") == 0, moment
            assert cli.run(folder, "ingest") == 0, moment
            assert current(folder) == current(whole), moment
            assert known(folder) == known(whole), moment
            assert revised(folder) >= revised(old, root="data"), moment
            shutil.rmtree(folder)

    assert code == 0
    assert kills >= 2


def revised(folder: Path, root: str = "revisions") -> set[bytes]:
    return {path.read_bytes() for path in (folder / root).rglob("*.parquet")}


@pytest.mark.slow
def test_an_ingestion_killed_again_and_again_comes_to_its_end(cli: DyingCli, tmp_path: Path) -> None:
    random = Random(7)
    with AlpacaLoopback(bars(), page_size=7) as provider:
        whole = configure(tmp_path / "whole", provider.url)
        assert cli.run(whole, "ingest") == 0
        for number in range(1):
            folder, kills = configure(tmp_path / f"killed-{number}", provider.url), 0
            while cli.run(folder, "ingest", die_at=random.randint(1, 400)) == KILLED:
                kills += 1
                assert kills < 200
            assert files(folder) == files(whole)
            assert known(folder) == known(whole)
