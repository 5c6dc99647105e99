"""The real command line over a real bucket, killed with SIGKILL at drawn moments, and run again.

A dozen kills by default, and as many as MARKETPIPE_BUCKET_KILLS says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from marketpipe import place_parts
from marketpipe.config import load_store_config
from marketpipe.storage.infrastructure.objects.obstore_objects import s3_objects
from marketpipe.store import Store
from tests.support.killed_runs import KILLED, DyingCli, quick_folder
from tests.support.s3_servers import S3Server

KILLS = int(os.environ.get("MARKETPIPE_BUCKET_KILLS", "12"))
KILLS_OF_A_STORE = 4
MOST_MOMENTS, MOST_SECONDS = 60, 2.0
"""As long as the ingestion of an empty store lasts: its first 15 moments are before the first bars are put."""
NOW = ("gc", "--grace", "0s", "--alone", "--quiet")


@pytest.fixture
def cli(moto: S3Server) -> Iterator[DyingCli]:
    with DyingCli("dying_cli", ["env", *(f"{name}={value}" for name, value in moto.environment.items())]) as made:
        yield made


def configure(folder: Path, place: str) -> Path:
    folder.mkdir()
    (folder / "config.yaml").write_text(
        "provider: synthetic\nsymbols: [AAPL, IBM, MSFT, XOM]\nstart: 2024-01-02\nend: 2024-01-31\ntimeframes: [1d]\n"
        f"output_path: {place}\nstate_path: state.sqlite\n"
    )
    return folder


def stored(folder: Path, moto: S3Server, place: str) -> tuple[str, set[str], set[str]]:
    """Return the lock of all that is stored, the objects that the catalog names, and those that there are."""
    config = load_store_config(folder / "config.yaml", root=folder)
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    objects = s3_objects(bucket, prefix, moto.environment)

    class OverMoto(Store):
        _new_object_store = staticmethod(lambda _: objects)

    with OverMoto(config) as store:
        assert store.verify().ok
        named = set(place_parts.known_state(store._parts).file_catalog.objects())
        return store.freeze().text(), named, {each.key for each in objects.listed("objects/")}


def test_nothing_is_lost_or_doubled_and_every_orphan_is_collected(
    cli: DyingCli, moto: S3Server, tmp_path: Path
) -> None:
    random, bucket, kills, orphans = Random(16), moto.new_bucket(), 0, 0
    with quick_folder(tmp_path) as scratch:
        whole = configure(scratch / "whole", f"s3://{bucket}/whole")
        assert cli.run(whole, "ingest", "--quiet") == 0, (whole / "output.txt").read_text()
        expected, _, _ = stored(whole, moto, f"s3://{bucket}/whole")
        number = 0
        while kills < KILLS:
            number += 1
            place = f"s3://{bucket}/store{number}"
            folder = configure(scratch / f"store{number}", place)
            for attempt in range(KILLS_OF_A_STORE):
                at = random.randrange(1, MOST_MOMENTS) if attempt % 2 else None
                after = None if at else random.uniform(0.05, MOST_SECONDS)
                code = cli.run(folder, "ingest", "--quiet", die_at=at, die_after=after)
                assert code in (0, KILLED), (folder / "output.txt").read_text()
                kills += code == KILLED
            assert cli.run(folder, "ingest", "--quiet") == 0, (folder / "output.txt").read_text()
            lock, named, there = stored(folder, moto, place)
            assert lock == expected
            assert named <= there
            orphans += len(there - named)
            assert cli.run(folder, *NOW) == 0, (folder / "output.txt").read_text()
            assert stored(folder, moto, place) == (expected, named, named)
    assert orphans or KILLS < 100, "no kill left an orphan: the moments are not those of writes"
