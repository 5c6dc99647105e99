from __future__ import annotations

import pytest

from marketpipe.integration.domain.data_feed import ProviderContext
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.testing import FakeClock


def test_repr_shows_none_of_the_options() -> None:
    context = ProviderContext({"token": "s3cr3t"}, FakeClock(), lambda _: None)
    assert "s3cr3t" not in repr(context)
    assert "token" not in repr(context)
    assert context.options["token"] == "s3cr3t"


def test_a_secret_is_looked_up_by_its_name_and_no_repr_shows_it() -> None:
    context = ProviderContext({}, FakeClock(), lambda _: None, {"ACME_TOKEN": " s3cr3t "}.get)
    assert context.secret("ACME_TOKEN") == "s3cr3t"
    assert "s3cr3t" not in repr([context, context.secret("ACME_TOKEN")])


def test_a_secret_that_is_not_set_is_named() -> None:
    for context in (
        ProviderContext({}, FakeClock(), lambda _: None),
        ProviderContext({}, FakeClock(), lambda _: None, {"ACME_TOKEN": " "}.get),
    ):
        with pytest.raises(ConfigurationError, match="set ACME_TOKEN in the environment"):
            context.secret("ACME_TOKEN")
