"""What every place of objects promises, kept over real servers of S3; the one that ignores conditions is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from marketpipe.shared_kernel.domain.errors import ConfigurationError, StoreUnreachableError
from marketpipe.storage.infrastructure.objects.condition_probe import probe_conditions
from marketpipe.storage.infrastructure.objects.object_store import ObjectStore
from marketpipe.storage.infrastructure.objects.obstore_objects import s3_objects
from tests.contract.test_object_store import (
    test_a_large_object_keeps_every_byte,
    test_a_range_is_read_from_the_beginning_and_from_the_end,
    test_deleted_objects_are_gone_and_others_are_not,
    test_more_objects_are_listed_and_deleted_than_one_answer_has,
    test_objects_are_listed_with_their_sizes_and_times,
    test_what_does_not_exist_is_an_error,
    test_what_was_put_is_there_and_nothing_replaces_it,
)
from tests.support.s3_servers import ACCESS_KEY, SECRET_KEY, S3Server

__all__ = [
    "test_a_large_object_keeps_every_byte",
    "test_a_range_is_read_from_the_beginning_and_from_the_end",
    "test_deleted_objects_are_gone_and_others_are_not",
    "test_more_objects_are_listed_and_deleted_than_one_answer_has",
    "test_objects_are_listed_with_their_sizes_and_times",
    "test_what_does_not_exist_is_an_error",
    "test_what_was_put_is_there_and_nothing_replaces_it",
]


@pytest.fixture
def store(s3_server: S3Server) -> ObjectStore:
    return s3_objects(s3_server.new_bucket(), "a/store", s3_server.environment)


def test_servers_that_keep_conditions_are_accepted(s3_server: S3Server) -> None:
    bucket = s3_server.new_bucket()

    probe_conditions(s3_objects(bucket, "a/store", s3_server.environment), f"s3://{bucket}/a/store", "0a")

    assert s3_server.keys(bucket) == []


def test_rclone_is_refused(rclone: S3Server) -> None:
    bucket = rclone.new_bucket()

    with pytest.raises(ConfigurationError, match="ignores conditional writes"):
        probe_conditions(s3_objects(bucket, "a/store", rclone.environment), f"s3://{bucket}/a/store", "0a")


def test_a_bucket_that_is_not_there_is_named(moto: S3Server) -> None:
    """SeaweedFS makes one."""
    with pytest.raises(
        StoreUnreachableError, match="s3://no-such-bucket/a/store/objects/1: there is no such bucket; create it"
    ):
        s3_objects("no-such-bucket", "a/store", moto.environment).put_new("objects/1", b"1")


def test_wrong_keys_are_an_error_that_shows_none(seaweed: S3Server) -> None:
    environment = {**seaweed.environment, "AWS_SECRET_ACCESS_KEY": "another secret"}

    objects = s3_objects(seaweed.new_bucket(), "a/store", environment)
    asks: list[Callable[[], object]] = [
        lambda: objects.put_new("objects/1", b"1"),
        lambda: objects.get("objects/1"),
        lambda: [*objects.listed("objects/")],
    ]
    for ask in asks:
        with pytest.raises(
            StoreUnreachableError, match=r"error 403 .*; check the AWS_… variables, and what the policy"
        ) as caught:
            ask()
        for secret in (ACCESS_KEY, SECRET_KEY, "another secret"):
            assert secret not in str(caught.value)
