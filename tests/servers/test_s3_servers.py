"""What the other tests take for granted of the servers of objects that they start."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store

from tests.support.installed import needs
from tests.support.s3_servers import ACCESS_KEY, REGION, SECRET_KEY, S3Server, running_seaweed


def store_of(server: S3Server, bucket: str) -> S3Store:
    keys = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY}
    return S3Store(bucket, endpoint=server.url, region=REGION, client_options={"allow_http": True}, **keys)


def test_the_second_of_two_conditional_writes_is_refused(s3_server: S3Server) -> None:
    store = store_of(s3_server, bucket := s3_server.new_bucket())
    store.put("some/key", b"first", mode="create")
    with pytest.raises(AlreadyExistsError):
        store.put("some/key", b"second", mode="create")
    assert bytes(store.get("some/key").bytes()) == b"first"
    assert s3_server.keys(bucket) == ["some/key"]


def test_rclone_ignores_the_condition(rclone: S3Server) -> None:
    store = store_of(rclone, rclone.new_bucket())
    store.put("some/key", b"first", mode="create")
    store.put("some/key", b"second", mode="create")
    assert bytes(store.get("some/key").bytes()) == b"second"


def test_seaweed_keeps_what_it_has_if_it_is_killed(seaweed: S3Server) -> None:
    store = store_of(seaweed, bucket := seaweed.new_bucket())
    store.put("some/key", b"content", mode="create")
    seaweed.kill()
    seaweed.start()
    assert seaweed.keys(bucket) == ["some/key"]


@needs("weed")
def test_nothing_is_left_of_seaweed() -> None:
    with running_seaweed() as server:
        process, left = server.pid, [server.folder, *server.litter()]
        assert all(path.exists() for path in left)
        assert len(left) > 1
    assert not any(path.exists() for path in left)
    assert not (Path("/proc") / str(process)).exists()


def test_seaweed_refuses_other_keys(seaweed: S3Server) -> None:
    client = seaweed.client()
    client._request_signer._credentials.secret_key = "wrong"
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client.list_buckets()
