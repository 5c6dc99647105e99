"""A store is copied between a disk and a bucket, either way; the copy answers as the original does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
from attrs import evolve

from marketpipe import transfer_parts
from marketpipe.config import PipelineConfig, StoreConfig
from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.errors import ConfigurationError, StoreBusyError
from marketpipe.storage.domain.dataset_lock import DatasetLock
from marketpipe.storage.infrastructure.bucket_upkeep import file_transfer
from marketpipe.storage.infrastructure.objects.packs import NewPackedFile
from marketpipe.store_copying import copy_store
from tests.integration.test_upkeep_of_a_bucket import FIRST, LAST, MIDDLE, Kept
from tests.support.bucket_stores import answers, bucket_config, in_folders, over
from tests.support.examples import some
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


def copied(kept: Kept, one: StoreConfig, other: StoreConfig) -> object:
    return copy_store(one, other, new_store=lambda config: opened(kept, config))


def answers_of(kept: Kept, config: StoreConfig) -> list[object]:
    assert kept.before is not None
    with opened(kept, config) as store:
        assert store.verify().ok
        return answers(store, FIRST, LAST, kept.before)


@pytest.mark.parametrize(("source", "target"), some(product(reversed(KINDS), KINDS)))
def test_the_copy_answers_as_the_original(kept: Kept, source: str, target: str) -> None:
    one, other = filled(kept, source), config_of(kept.root, target, "other")
    before = answers_of(kept, one)
    copied(kept, one, other)

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


class Killed(Exception):
    """Stands for the end of the process."""


def dying(moment: str) -> Callable[..., transfer_parts.StoreTransfer]:
    def die(*_: object) -> None:
        raise Killed

    return type("Dying", (transfer_parts.StoreTransfer,), {moment: die})


def carry_out(transfer: transfer_parts.StoreTransfer) -> None:
    transfer.begin()
    transfer.copy_files()
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
    copied(kept, one, other)

    assert answers_of(kept, other) == answers_of(kept, one)


def test_files_are_put_together_up_to_64_mb(kept: Kept) -> None:
    def files() -> Iterator[NewPackedFile]:
        yield from (NewPackedFile(f"data/{number}", bytes(30_000_000), 1) for number in range(4))

    bucket = in_folders(kept.root)("s3://bucket/other")
    names = iter("abc")
    placed = file_transfer.IntoABucket(bucket, lambda: next(names), lambda: 1).write(files())

    assert [file.object for file in placed] == ["objects/a.pack"] * 3 + ["objects/b.pack"]
