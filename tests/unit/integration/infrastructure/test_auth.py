from __future__ import annotations

import httpx
import pytest

from marketpipe.integration.infrastructure.auth import HeaderTokenAuth
from marketpipe.shared_kernel.domain.errors import ConfigurationError


def test_headers_are_added_to_the_request() -> None:
    request = httpx.Request("GET", "https://api.test/bars", headers={"Accept": "application/json"})
    (signed,) = HeaderTokenAuth({"X-Key": "k", "X-Secret": "s"}).auth_flow(request)
    assert signed is request
    assert (signed.headers["x-key"], signed.headers["x-secret"]) == ("k", "s")
    assert signed.headers["accept"] == "application/json"


def test_repr_names_the_headers_and_hides_their_values() -> None:
    assert repr(HeaderTokenAuth({"X-Key": "visible?", "X-Secret": "s"})) == "HeaderTokenAuth(headers=<X-Key, X-Secret>)"


@pytest.mark.parametrize(
    "secret", ["", " ", "hidden\n", " hidden", "hidden\t", "hid\x00den", "hid\nden", "hidd\u00e9n", "hidden\u2019"]
)
def test_a_secret_that_no_header_can_carry_is_refused_without_being_shown(secret: str) -> None:
    """An HTTP library would name it in its error, retry after retry."""
    with pytest.raises(ConfigurationError, match="the secret for the header X-Secret") as caught:
        HeaderTokenAuth({"X-Key": "k", "X-Secret": secret})
    assert "hidden" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_bearer_token_may_hold_the_space_after_its_scheme() -> None:
    assert HeaderTokenAuth({"Authorization": "Bearer abc.def-123=="}).headers["Authorization"].endswith("==")


def test_a_token_is_secret_without_its_scheme_too() -> None:
    assert HeaderTokenAuth({"Authorization": "Bearer abc.def"}).secrets == ("Bearer abc.def", "abc.def")
