from __future__ import annotations

from marketpipe.integration.domain.data_feed import ProviderContext
from marketpipe.testing import FakeClock


def test_repr_shows_none_of_the_options() -> None:
    context = ProviderContext({"token": "s3cr3t"}, FakeClock(), lambda _: None)
    assert "s3cr3t" not in repr(context)
    assert "token" not in repr(context)
    assert context.options["token"] == "s3cr3t"
