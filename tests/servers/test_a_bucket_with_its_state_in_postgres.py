"""The real command line over a store in a bucket of a real server with its state in PostgreSQL: the state is lost, the
bucket is swept beside others, and the whole store is copied from a disk and back.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from marketpipe import place_parts
from marketpipe.config import load_store_config
from marketpipe.ingestion.infrastructure.postgres.postgres_state import PostgresState
from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock
from marketpipe.storage.infrastructure.objects.obstore_objects import s3_objects
from marketpipe.store import Store
from tests.support.child_processes import wait_until
from tests.support.cli_process import result_of, start_marketpipe
from tests.support.moved_stores import DAYS, SYMBOLS, CorrectingProvider, MovedStores
from tests.support.postgres_server import PostgresServer
from tests.support.s3_servers import S3Server

SYMBOL_DAYS = len(DAYS) * len(SYMBOLS)
ORPHAN = "objects/of-a-killed-write.pack"
GRACE_SECONDS = 20
"""Much longer than a write waits between its object and its change of the catalog, even here."""


class Shared(MovedStores):
    """Stores below one prefix of a bucket, each with a database of its own."""

    def __init__(self, folder: Path, provider: CorrectingProvider, s3: S3Server, postgres: PostgresServer) -> None:
        super().__init__(folder, provider, s3.environment)
        self.s3, self.postgres, self.bucket = s3, postgres, s3.new_bucket()
        self.databases = list[str]()

    def new_database(self) -> str:
        self.databases.append(self.postgres.new_database())
        return self.databases[-1]

    def in_bucket(self, name: str, prefix: str = "a/store") -> str:
        """Configure a store whose database is new."""
        return self.configure(name, f"s3://{self.bucket}/{prefix}", self.new_database())

    def on_disk(self, name: str) -> str:
        return self.configure(name, f"{name}/data", f"{name}/state/marketpipe.sqlite")

    def objects(self, below: str = "objects/", prefix: str = "a/store") -> set[str]:
        return {key.removeprefix(f"{prefix}/") for key in self.s3.keys(self.bucket, f"{prefix}/{below}")}

    def put_orphan(self) -> None:
        self.s3.client().put_object(Bucket=self.bucket, Key=f"a/store/{ORPHAN}", Body=b"whatever")

    def opened(self, name: str) -> Store:
        objects = s3_objects(self.bucket, "a/store", self.env)

        class OverServer(Store):
            _new_object_store = staticmethod(lambda _: objects)

        return OverServer(load_store_config(self.folder / f"{name}.yaml", root=self.folder))

    def named(self, name: str) -> set[str]:
        """Return the objects that the state names."""
        with self.opened(name) as store:
            return set(place_parts.known_state(store._parts).file_catalog.objects())


@pytest.fixture
def stores(tmp_path: Path, bucket_server: S3Server, postgres_server: PostgresServer) -> Iterator[Shared]:
    with CorrectingProvider() as provider:
        made = Shared(tmp_path, provider, bucket_server, postgres_server)
        yield made
    for url in made.databases:
        postgres_server.drop(url)


@pytest.mark.parametrize("swept", [False, True])
def test_a_state_that_is_lost_is_made_again_of_the_objects_alone(stores: Shared, swept: bool) -> None:
    lost = stores.in_bucket("lost")
    stores.fill(lost)
    before = stores.answers(lost)
    assert before["as of ()"] != before[f"as of ('--as-of', '{stores.moment}')"]
    if swept:
        stores.run(lost, "gc", "--grace", "0s", "--alone")
    before_it = stores.objects(), stores.provider.asked

    found = stores.in_bucket("found")
    for refused in (("ingest",), ("gc",), ("gc", "--grace", "0s", "--alone")):
        assert "'marketpipe recover --config found.yaml'" in stores.run(found, *refused, code=2).stderr
    assert (stores.objects(), stores.provider.asked) == before_it

    recovered = stores.result(found, "recover")
    assert recovered["symbol_days"] == SYMBOL_DAYS
    assert stores.answers(found) == before
    assert stores.asks_for_nothing(found)
    assert stores.answers(found) == before


def test_gc_removes_what_is_older_than_the_grace_time_and_nothing_else_while_another_process_ingests(
    stores: Shared,
) -> None:
    swept, going_on, held = stores.in_bucket("swept"), threading.Event(), list[int]()

    def hold(number: int, _: object) -> None:
        if not going_on.is_set():
            held.append(number)
            going_on.wait(300)

    stores.run(swept, "ingest", "--end", DAYS[1])
    stores.put_orphan()
    stores.provider.fault = hold
    ingesting = start_marketpipe("ingest", "--config", f"{swept}.yaml", cwd=stores.folder, env=stores.env)
    wait_until(lambda: held or ingesting.poll() is not None)
    before = stores.objects()
    young = stores.result(swept, "gc", "--grace", "1h")
    assert (young["removed"], young["waiting"]) == (0, len(before - stores.named(swept)))
    assert "a process works with" in stores.run(swept, "gc", "--grace", "0s", "--alone", code=1).stderr
    assert stores.objects() == before

    with stores.opened(swept) as store:
        while ingesting.poll() is None:
            place_parts.new_orphan_collector(store._parts, lambda: None).collect(timedelta(seconds=GRACE_SECONDS))
            if ORPHAN not in stores.objects():
                going_on.set()
    out, errors = ingesting.communicate()
    assert (ingesting.returncode, going_on.is_set()) == (0, True), out + errors
    assert stores.named(swept) <= stores.objects()
    stores.run(swept, "gc", "--grace", "0s", "--alone")
    assert stores.named(swept) == stores.objects()

    alone = stores.on_disk("alone")
    stores.run(alone, "ingest")
    stores.run(swept, "verify")
    assert stores.run(swept, "freeze").stdout == stores.run(alone, "freeze").stdout


@pytest.mark.parametrize("begun_by", ["state copy", "recover"])
def test_with_a_state_that_another_one_has_taken_the_place_of_nothing_is_removed_or_put(
    stores: Shared, begun_by: str
) -> None:
    former, other = stores.in_bucket("former"), stores.in_bucket("other")
    stores.run(former, "ingest", "--end", DAYS[1])
    if begun_by == "recover":
        stores.run(other, "recover")
    else:
        stores.run_words("state", "copy", *stores.databases, "--config", f"{former}.yaml")
    stores.run(other, "ingest")
    before = stores.objects("")

    for words in (("gc",), ("gc", "--dry-run"), ("gc", "--grace", "0s", "--alone"), ("ingest",)):
        refused = stores.run(former, *words, code=2).stderr
        assert "have another state since 20" in refused
        assert stores.databases[1] in refused
        assert "'marketpipe recover --config former.yaml --force'" in refused
    assert stores.objects("") == before
    stores.run(other, "gc", "--grace", "0s", "--alone")
    stores.run(other, "verify")
    assert stores.asks_for_nothing(other)

    stores.run(former, "recover", "--force")
    assert stores.run(former, "freeze").stdout == stores.run(other, "freeze").stdout
    assert "have another state since" in stores.run(other, "gc", code=2).stderr
    stores.run(former, "gc")


def test_a_store_goes_into_a_bucket_and_a_database_and_back(stores: Shared) -> None:
    disk, bucket, back = stores.on_disk("disk"), stores.in_bucket("bucket"), stores.on_disk("back")
    stores.fill(disk)
    before = stores.answers(disk)
    for one, other in ((disk, bucket), (bucket, back)):
        copied = result_of(stores.run_words("copy", f"{one}.yaml", f"{other}.yaml", "--json"))
        assert copied["rows"]["checkpoints"] == SYMBOL_DAYS
        assert stores.result(other, "status") == stores.result(one, "status")
        assert stores.answers(other) == before
        assert stores.asks_for_nothing(other)
        assert stores.answers(other) == before
    files = [_files_below(stores.folder / name) for name in (disk, back)]
    assert files[0] == files[1]
    areas = {Path(path).parts[0] for path in files[0]}
    assert areas >= {"data", "aggregates", "official", "quarantine", "revisions"}


def _files_below(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return all files of a store but its state, and when they were written."""
    files = (path for path in folder.rglob("*") if path.is_file() and "state" not in path.relative_to(folder).parts)
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_copy_that_is_killed_between_the_files_and_the_state_is_carried_on_with(stores: Shared) -> None:
    disk, bucket = stores.on_disk("disk"), stores.in_bucket("bucket")
    stores.fill(disk)
    words = ("copy", f"{disk}.yaml", f"{bucket}.yaml")
    PostgresState(stores.databases[-1], "another store", SystemClock()).close()  # makes the tables
    with psycopg.connect(stores.databases[-1]) as other:
        other.execute("LOCK TABLE marketpipe.jobs IN SHARE MODE")  # who writes the state has to wait
        copying = start_marketpipe(*words, cwd=stores.folder, env=stores.env)
        with psycopg.connect(stores.databases[-1], autocommit=True) as watching:
            wait_until(lambda: _waits(watching) or copying.poll() is not None)
        copying.kill()
        assert copying.wait() == -signal.SIGKILL
        other.rollback()
    assert "holds the lock update" in stores.run_words(*words, code=1).stderr
    with psycopg.connect(stores.databases[-1], autocommit=True) as watching:
        wait_until(lambda: not _lives(watching))
    put = stores.objects()
    assert len(put) == 1
    assert stores.objects("copying/") == {"copying/source"}
    assert "'marketpipe recover" in stores.run(bucket, "ingest", code=2).stderr

    copied = stores.run_words(*words).stdout
    assert stores.objects() == put
    assert "there already from a copy that was killed" in copied
    assert stores.objects("copying/") == set()
    assert stores.answers(bucket) == stores.answers(disk)
    assert "has a store already" in stores.run_words(*words, code=2).stderr


def _waits(connection: psycopg.Connection[Any]) -> bool:
    found = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()
    assert found is not None
    return bool(found[0])


def _lives(connection: psycopg.Connection[Any]) -> bool:
    """Return whether a process counts as living: for 30 seconds after its last sign of life."""
    found = connection.execute("SELECT count(*) FROM marketpipe.holders WHERE marketpipe.is_alive(holder)").fetchone()
    assert found is not None
    return bool(found[0])
