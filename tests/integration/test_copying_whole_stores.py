"""A store is copied between a disk and a bucket, either way; the copy answers as the original does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve

from marketpipe import transfer_parts
from marketpipe.config import PipelineConfig, StoreConfig
from marketpipe.pipeline import Pipeline
from marketpipe.place_parts import store_lock
from marketpipe.shared_kernel.domain.errors import ConfigurationError, StoreBusyError
from marketpipe.storage.domain.bucket_upkeep import StoreCopyReport
from marketpipe.storage.domain.dataset_lock import DatasetLock
from marketpipe.storage.infrastructure.bucket_upkeep import file_transfer
from marketpipe.storage.infrastructure.objects.object_store import PUT
from marketpipe.storage.infrastructure.objects.packs import NewPackedFile
from marketpipe.store_copying import copy_store
from marketpipe.store_locks import EXCLUDING_CHANGES, UPDATE
from tests.integration.test_upkeep_of_a_bucket import FIRST, LAST, MIDDLE, Kept
from tests.support.bucket_stores import answers, bucket_config, in_folders, over
from tests.support.examples import some
from tests.support.in_memory_object_store import InMemoryObjectStore
from tests.support.pipeline_ring import minutes

KINDS = ("disk", "bucket")


def config_of(root: Path, kind: str, name: str) -> PipelineConfig:
    scope = {"symbols": ["AAPL", "BRK.B"], "start": FIRST, "end": LAST, "timeframes": ["5m", "1d"]}
    place = str(root / name / "data") if kind == "disk" else f"s3://bucket/{name}"
    state = root / name / "state" / "marketpipe.sqlite"
    return bucket_config(root, place, **scope, state_path=state)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def opened(kept: Kept, config: StoreConfig) -> Pipeline:
    assert isinstance(config, PipelineConfig)
    return over(in_folders(kept.root), config, kept.provider, kept.clock)


def filled(kept: Kept, kind: str) -> PipelineConfig:
    config = config_of(kept.root, kind, "one")
    with opened(kept, config) as store:
        assert store.ingest().ok
    kept.clock.advance(3600)
    kept.before = kept.clock.now()
    kept.clock.advance(3600)
    kept.provider.bars["AAPL"][MIDDLE] = minutes(MIDDLE, 9)[1:]
    with opened(kept, config) as store:
        assert store.audit(start=MIDDLE, end=MIDDLE, adopt=True).ok
    return config


def copied(kept: Kept, one: StoreConfig, other: StoreConfig) -> StoreCopyReport:
    return copy_store(one, other, new_store=partial(opened, kept))


def answers_of(kept: Kept, config: StoreConfig) -> list[object]:
    assert kept.before is not None
    with opened(kept, config) as store:
        assert store.verify().ok
        return answers(store, FIRST, LAST, kept.before)


@pytest.mark.parametrize(("source", "target"), some(product(reversed(KINDS), KINDS)))
def test_the_copy_answers_as_the_original(kept: Kept, source: str, target: str) -> None:
    one, other = filled(kept, source), config_of(kept.root, target, "other")
    before, done = answers_of(kept, one), list[tuple[int, int]]()
    files = copy_store(one, other, new_store=partial(opened, kept), on_files=lambda *step: done.append(step)).files

    assert done == [(0, files), (files, files)]  # a group has up to 64 MB
    assert answers_of(kept, other) == before == answers_of(kept, one)
    kept.provider.forget()
    with opened(kept, other) as store:
        assert store.verify(lock=DatasetLock.parse(str(before[-2]))).ok
        assert store.ingest().ok
        assert len(store.status().jobs) == 3
    assert kept.provider.requests == []
    if target == "bucket":
        bucket = in_folders(kept.root)("s3://bucket/other")
        assert len({each.key for each in bucket.listed("objects/")}) == 1
        assert {each.key for each in bucket.listed("copying/")} == set()


def test_a_target_that_is_not_empty_is_refused(kept: Kept) -> None:
    one, other = filled(kept, "disk"), config_of(kept.root, "bucket", "other")
    with pytest.raises(ConfigurationError, match="copied to another output_path"):
        copied(kept, one, one)
    copied(kept, one, other)
    with pytest.raises(ConfigurationError, match="has a store already"):
        copied(kept, one, other)
    with pytest.raises(ConfigurationError, match="s3://bucket/other is not empty"):
        copied(kept, one, evolve(other, state_path=kept.root / "another.sqlite"))
    third = config_of(kept.root, "disk", "third")
    (third.output_path / "x").mkdir(parents=True)
    (third.output_path / "x" / "file.txt").write_text("of somebody")
    with pytest.raises(ConfigurationError, match="is not empty"):
        copied(kept, one, third)
    with pytest.raises(ConfigurationError, match="has no state that can be read"):
        copied(kept, third, config_of(kept.root, "disk", "fourth"))


def test_a_store_in_use_is_not_copied(kept: Kept) -> None:
    one, other = filled(kept, "disk"), config_of(kept.root, "bucket", "other")
    with opened(kept, one) as writer:
        kept.provider.bars["AAPL"][MIDDLE] = minutes(MIDDLE, 3)
        assert writer.audit(start=MIDDLE, end=MIDDLE, adopt=True)
        with pytest.raises(StoreBusyError):
            copied(kept, one, other)
    copied(kept, one, other)
    assert answers_of(kept, one) == answers_of(kept, other)


@pytest.mark.parametrize("purpose", EXCLUDING_CHANGES)
def test_a_store_is_not_copied_beside_a_command_that_changes_it(kept: Kept, purpose: str) -> None:
    one, other = filled(kept, "disk"), config_of(kept.root, "disk", "other")
    with (
        opened(kept, one) as busy,
        store_lock(busy._parts, purpose, waits=False).acquired(),
        pytest.raises(StoreBusyError, match="is running"),
    ):
        copied(kept, one, other)
    assert not other.output_path.exists()


def test_a_store_is_not_copied_into_one_that_is_updated(kept: Kept) -> None:
    one, other = filled(kept, "disk"), config_of(kept.root, "disk", "other")
    with (
        opened(kept, other) as busy,
        store_lock(busy._parts, UPDATE, waits=False).acquired(),
        pytest.raises(StoreBusyError, match=r"is running \(it holds .*/other/state/"),
    ):
        copied(kept, one, other)
    assert not other.output_path.exists()


@pytest.mark.parametrize("target", KINDS)
def test_of_two_copies_that_have_found_a_place_empty_one_goes_on(kept: Kept, target: str) -> None:
    one, other = filled(kept, "disk"), config_of(kept.root, target, "other")
    with opened(kept, one) as source, opened(kept, other) as end:

        class Late(transfer_parts.StoreTransfer):
            """Another copy begins just after this one has found the place empty."""

            @property
            def _end(self) -> Any:
                found = super()._end
                return SimpleNamespace(mark=found.mark, is_empty=self._is_empty, set_mark=found.set_mark)

            def _is_empty(self) -> bool:
                was_empty = super()._end.is_empty()
                transfer_parts.StoreTransfer(source._parts, end._parts, "first").begin()
                return was_empty

        with pytest.raises(ConfigurationError, match="another store is being copied to"):
            Late(source._parts, end._parts, "second").begin()
        transfer_parts.StoreTransfer(source._parts, end._parts, "first").begin()


class Killed(Exception):
    """Stands for the end of the process."""


def dying(moment: str) -> Callable[..., transfer_parts.StoreTransfer]:
    def die(*_: object) -> None:
        raise Killed

    return type("Dying", (transfer_parts.StoreTransfer,), {moment: die})


def carry_out(transfer: transfer_parts.StoreTransfer) -> None:
    transfer.begin()
    transfer.copy_files(lambda _, __: None)
    transfer.copy_state()
    transfer.end()


@pytest.mark.parametrize(("target", "moment"), some(product(reversed(KINDS), ["copy_state", "end"])))
def test_a_copy_that_was_killed_is_begun_again(kept: Kept, target: str, moment: str) -> None:
    one, other = filled(kept, "disk"), config_of(kept.root, target, "other")
    with opened(kept, one) as source, opened(kept, other) as end:
        transfer = dying(moment)(source._parts, end._parts, str(one.output_path))
        with pytest.raises(Killed):
            carry_out(transfer)
    if moment == "copy_state":
        with opened(kept, other) as half:
            assert half.dataset() is None
            assert (target == "disk") == bool(half._known_symbols())
            with pytest.raises(ConfigurationError, match=r"nothing was recovered: a copy of .* has not ended"):
                half.recover()
    copied(kept, one, other)

    assert answers_of(kept, other) == answers_of(kept, one)


def test_files_are_put_together_up_to_64_mb(kept: Kept) -> None:
    def files() -> Iterator[NewPackedFile]:
        yield from (NewPackedFile(f"data/{number}", bytes(30_000_000), 1) for number in range(4))

    bucket = in_folders(kept.root)("s3://bucket/other")
    placed = file_transfer.IntoABucket(bucket, 1).write(files()).placed

    assert [[file.path for file in of_one] for _, of_one in groupby(placed, lambda file: file.object)] == [
        ["data/0", "data/1", "data/2"],
        ["data/3"],
    ]


def test_a_copy_into_a_bucket_that_is_begun_again_puts_only_what_is_not_there() -> None:
    files = [NewPackedFile(f"data/{number}", bytes(file_transfer.MOST_BYTES), number) for number in range(3)]
    bucket = InMemoryObjectStore()
    first = file_transfer.IntoABucket(bucket, 1).write(files[:2])
    bucket.requests.clear()

    again = file_transfer.IntoABucket(bucket, 1).write(files)

    assert (first.already_there, again.already_there, bucket.requests[PUT]) == (0, 2, 1)
    assert again.placed[:2] == first.placed
    assert {file.object for file in again.placed} == {*bucket.objects}
    # Other bytes are in another pack, and so are those of a copy that was begun at another moment.
    other = [NewPackedFile("data/0", b"x" * file_transfer.MOST_BYTES, 0)]
    assert file_transfer.IntoABucket(bucket, 1).write(other).already_there == 0
    assert file_transfer.IntoABucket(bucket, 2).write(files).already_there == 0


@pytest.mark.parametrize("target", KINDS)
def test_a_copy_says_what_was_there_already(kept: Kept, target: str) -> None:
    one, other = filled(kept, "disk"), config_of(kept.root, target, "other")
    with opened(kept, one) as source, opened(kept, other) as end:
        transfer = transfer_parts.StoreTransfer(source._parts, end._parts, str(one.output_path))
        transfer.begin()
        transfer.copy_files(lambda _, __: None)
    kept.clock.advance(60)

    again = copied(kept, one, other)

    assert again.already_there == again.files > 0
    if target == "bucket":
        assert len([*in_folders(kept.root)("s3://bucket/other").listed("objects/")]) == 1
