from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from itertools import count
from random import Random

import pytest

from marketpipe.shared_kernel.domain.errors import ConfigurationError, StoreUnreachableError
from marketpipe.storage.infrastructure.objects.obstore_objects import endpoint_in, s3_objects
from tests.support.loopback_s3 import KEYS, LoopbackBucket, loopback_bucket
from tests.support.s3_clients import objects_of

KEY, CONTENT = "objects/0a.parquet", b"content of the object"


@pytest.fixture
def bucket() -> Iterator[LoopbackBucket]:
    with loopback_bucket() as made:
        yield made


@pytest.mark.parametrize("answer", ["503", "reset"])
def test_a_put_whose_answer_is_lost_after_it_was_stored_costs_one_request_more(
    bucket: LoopbackBucket, answer: str
) -> None:
    bucket.answers = [answer]
    requests = Counter[str]()

    assert objects_of(bucket, lambda kind: requests.update([kind])).put_new(KEY, CONTENT)

    assert bucket.objects == {f"a/store/{KEY}": CONTENT}
    assert bucket.requests == {"PUT": 1, "HEAD": 1}
    assert requests == {"put": 1, "head": 1}


def test_a_fifth_of_lost_answers_costs_less_than_a_third_more_requests(bucket: LoopbackBucket) -> None:
    chance = Random(1)
    bucket.answers = chance.choices(["", "503", "reset"], [8, 1, 1], k=500)
    objects = objects_of(bucket)

    assert all(objects.put_new(f"objects/{number}", CONTENT) for number in range(200))

    assert len(bucket.objects) == 200
    assert bucket.requests.total() <= 1.3 * 200


def test_a_put_that_was_not_stored_is_repeated(bucket: LoopbackBucket) -> None:
    bucket.answers = ["reset", "busy", "busy"]

    assert objects_of(bucket).put_new(KEY, CONTENT)

    assert bucket.requests == {"PUT": 3, "HEAD": 3}


def test_a_lost_answer_does_not_pass_for_success_if_another_object_is_there(bucket: LoopbackBucket) -> None:
    bucket.objects[f"a/store/{KEY}"] = b"of another writer ..."
    bucket.answers = ["503"]

    assert not objects_of(bucket).put_new(KEY, CONTENT)

    assert bucket.objects[f"a/store/{KEY}"] == b"of another writer ..."


def test_a_server_that_stays_busy_is_an_error_after_a_while(bucket: LoopbackBucket) -> None:
    bucket.answers = ["busy"] * 99

    with pytest.raises(StoreUnreachableError, match=r"error 503 SlowDown; check the network.* and try again"):
        objects_of(bucket, times=count(0.0, 10.0)).put_new(KEY, CONTENT)

    assert bucket.requests["PUT"] == 7


def test_a_list_that_is_refused_is_told_as_any_other_request(bucket: LoopbackBucket) -> None:
    bucket.refuses_to_list = True

    with pytest.raises(
        StoreUnreachableError, match=r"cannot list s3://bars/a/store/objects/: error 403 AccessDenied; check the AWS"
    ):
        [*objects_of(bucket).listed("objects/")]


def test_no_error_shows_a_key_of_the_account(bucket: LoopbackBucket) -> None:
    bucket.answers = ["refused"]
    objects = objects_of(bucket)

    with pytest.raises(StoreUnreachableError) as caught:
        objects.put_new(KEY, CONTENT)

    assert str(caught.value) == (
        f"cannot write s3://bars/a/store/{KEY}: error 403 AccessDenied; "
        "check the AWS_… variables, and what the policy of the bucket allows"
    )
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    for shown in (repr(objects), str(caught.value)):
        assert KEYS["AWS_ACCESS_KEY_ID"] not in shown
        assert KEYS["AWS_SECRET_ACCESS_KEY"] not in shown
    assert bucket.requests == {"PUT": 1}


def test_who_may_not_list_a_bucket_is_not_sent_to_the_network(bucket: LoopbackBucket) -> None:
    bucket.refuses_to_list = True

    with pytest.raises(
        StoreUnreachableError, match=r"cannot list s3://bars/a/store/objects/: error 403 .*check the AWS_… var"
    ):
        next(objects_of(bucket).listed("objects/"), None)


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        ({}, None),
        ({"AWS_ENDPOINT_URL": ""}, None),
        ({"AWS_ENDPOINT_URL": "https://s3.example.com:9000"}, "https://s3.example.com:9000"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:8333"}, "http://127.0.0.1:8333"),
        ({"AWS_ENDPOINT_URL": "http://[::1]:8333"}, "http://[::1]:8333"),
        ({"AWS_ENDPOINT_URL": "https://a", "AWS_ENDPOINT_URL_S3": "http://localhost:1"}, "http://localhost:1"),
    ],
)
def test_the_environment_names_the_server(environment: dict[str, str], endpoint: str | None) -> None:
    assert endpoint_in(environment) == endpoint


@pytest.mark.parametrize(
    "url",
    [
        *("http://s3.example.com", "http://10.0.0.1:8333", "http://localhost.example.com", "http://127.0.0.1.nip.io"),
        *("s3.example.com:9000", "ftp://s3.example.com", "https://", "https://key:secret@s3.example.com"),
    ],
)
def test_a_server_that_keys_would_reach_unencrypted_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="AWS_ENDPOINT_URL") as caught:
        endpoint_in({"AWS_ENDPOINT_URL": url})
    assert "secret" not in str(caught.value)


def test_objects_of_a_bucket_are_called_by_their_url(bucket: LoopbackBucket) -> None:
    objects = s3_objects("bars", "a/store", bucket.environment)

    assert repr(objects) == "ObstoreObjects(place='s3://bars/a/store')"
    assert "obstore" in sys.modules
