from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateLimitReport
from marketpipe.integration.infrastructure.retry import LONGEST_MESSAGE, classify_status, provider_message
from marketpipe.shared_kernel.domain.errors import (
    BadRequestError,
    CredentialsError,
    EntitlementError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitedError,
    TerminalProviderError,
)

SILENT = RateLimitReport()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (201, BadRequestError),
        (204, BadRequestError),
        (301, TerminalProviderError),
        (302, TerminalProviderError),
        (304, TerminalProviderError),
        (400, BadRequestError),
        (401, CredentialsError),
        (402, EntitlementError),
        (403, EntitlementError),
        (404, BadRequestError),
        (407, CredentialsError),
        (408, ProviderTimeoutError),
        (418, BadRequestError),
        (422, BadRequestError),
        (429, RateLimitedError),
        (500, ProviderUnavailableError),
        (502, ProviderUnavailableError),
        (503, ProviderUnavailableError),
        (504, ProviderUnavailableError),
        (599, ProviderUnavailableError),
        (999, ProviderUnavailableError),
    ],
)
def test_each_status_has_its_error(status: int, kind: type[ProviderError]) -> None:
    error = classify_status("acme", status, b'{"message":"so it is"}', SILENT)
    assert type(error) is kind
    assert str(error).startswith(f"acme answered {status}: so it is")


def test_a_rate_limit_error_has_the_seconds_to_wait() -> None:
    error = classify_status("acme", 429, b"", RateLimitReport(0, 12.0))
    assert isinstance(error, RateLimitedError)
    assert (error.retry_after, str(error)) == (12.0, "acme answered 429: Too Many Requests")
    silent = classify_status("acme", 429, b"", SILENT)
    assert isinstance(silent, RateLimitedError)
    assert silent.retry_after is None


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "Check the key and the secret"), (302, "Redirects are not followed: correct base_url")],
)
def test_errors_that_the_user_can_fix_have_advice(status: int, advice: str) -> None:
    assert str(classify_status("acme", status, b"", SILENT)).endswith(advice)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"message":"forbidden."}', "forbidden"),
        (b'{"code":42210000,"message":"invalid timeframe: 7Min"}', "invalid timeframe: 7Min"),
        (
            b"<html><head><title>401</title></head><body>\n <h1>Authorization Required</h1></body></html>",
            "401 Authorization Required",
        ),
        (b"upstream connect error\n  or disconnect", "upstream connect error or disconnect"),
        (b'{"error":"other words"}', '{"error":"other words"}'),
        (b'["a list"]', '["a list"]'),
        (b"", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'{"message":"half a pair: \\ud83d"}', "half a pair: ?"),
    ],
)
def test_the_message_is_the_providers_own_words(body: bytes, message: str) -> None:
    assert provider_message(body) == message


def test_a_long_message_is_cut() -> None:
    assert provider_message(b'{"message":"' + b"x" * 1000 + b'"}') == "x" * LONGEST_MESSAGE
    assert len(provider_message(b"y " * 1_000_000)) <= LONGEST_MESSAGE


def test_a_deeply_nested_body_is_taken_as_text() -> None:
    assert provider_message(b"[" * 1_000_000) == "[" * LONGEST_MESSAGE


def test_a_response_without_a_message_gets_the_phrase_of_its_status() -> None:
    assert str(classify_status("acme", 503, b"", SILENT)) == "acme answered 503: Service Unavailable"
    assert str(classify_status("acme", 599, b"", SILENT)) == "acme answered 599: no message"


@given(status=st.integers(100, 999).filter(lambda status: status != 200), body=st.binary(max_size=400))
def test_any_response_becomes_a_provider_error_in_one_line_of_unicode(status: int, body: bytes) -> None:
    error = classify_status("acme", status, body, SILENT)
    assert isinstance(error, ProviderError)
    assert "\n" not in str(error)
    assert str(error).encode("utf-8").startswith(f"acme answered {status}: ".encode())
