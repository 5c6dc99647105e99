from __future__ import annotations

import pytest

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.storage.infrastructure.objects.condition_probe import probe_conditions
from tests.support.in_memory_object_store import InMemoryObjectStore
from tests.support.loopback_s3 import loopback_bucket
from tests.support.s3_clients import objects_of


def test_a_server_that_keeps_the_first_object_is_accepted_and_left_as_it_was() -> None:
    with loopback_bucket() as bucket:
        probe_conditions(objects_of(bucket), "s3://bars/a/store", "0a")

        assert bucket.objects == {}
        assert bucket.requests["PUT"] == 2


def test_a_server_that_ignores_the_condition_is_refused() -> None:
    with loopback_bucket(ignores_conditions=True) as bucket:
        with pytest.raises(ConfigurationError, match=r"s3://bars/a/store ignores conditional writes"):
            probe_conditions(objects_of(bucket), "s3://bars/a/store", "0a")

        assert bucket.objects == {}


def test_a_server_that_says_refused_and_replaces_all_the_same_is_refused() -> None:
    class Liar(InMemoryObjectStore):
        def put_new(self, key: str, content: bytes) -> bool:
            is_new = super().put_new(key, content)
            self.objects[key] = content
            return is_new

    with pytest.raises(ConfigurationError):
        probe_conditions(Liar(), "s3://bars/a/store", "0a")
