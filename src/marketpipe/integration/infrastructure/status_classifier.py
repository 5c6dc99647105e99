from __future__ import annotations

import json
import re
from http import HTTPStatus

from marketpipe.integration.infrastructure.rate_limit_headers import RateLimitReport
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

LONGEST_MESSAGE = 200


def provider_message(body: bytes) -> str:
    """The provider's own words: ``message`` of a JSON body, or the text of any other, as one short valid line."""
    text = body[:4096].decode("utf-8", "replace")
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    words = (
        str(parsed["message"]) if isinstance(parsed, dict) and "message" in parsed else re.sub(r"<[^>]*>", " ", text)
    )
    return " ".join(words.split())[:LONGEST_MESSAGE].rstrip(".").encode("utf-8", "replace").decode()


def classify_status(provider: str, status: int, body: bytes, limit: RateLimitReport) -> ProviderError:
    """What the status codes of HTTP mean, where a provider does not know better."""
    said = f"{provider} answered {status}: {provider_message(body) or _phrase(status)}"
    if status == 429:
        return RateLimitedError(said, limit.seconds_to_wait)
    if status == 408:
        return ProviderTimeoutError(said)
    if status >= 500:
        return ProviderUnavailableError(said)
    if status in (401, 407):
        return CredentialsError(f"{said}. Check the key and the secret")
    if status in (402, 403):
        return EntitlementError(said)
    if 300 <= status < 400:
        return TerminalProviderError(f"{said}. Redirects are not followed: correct base_url")
    return BadRequestError(said)


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "no message"
