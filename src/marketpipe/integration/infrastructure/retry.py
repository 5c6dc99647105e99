from __future__ import annotations

import json
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from attrs import evolve, field, frozen
from attrs.validators import ge
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)

from marketpipe.integration.infrastructure.rate_limiter import RateLimitReport
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
from marketpipe.shared_kernel.domain.timestamp import Clock

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


FEW_ATTEMPTS = 3
OnRetry = Callable[[int, float, str], None]


@frozen
class RetryPolicy:
    """Exponential backoff with jitter, in seconds.

    A rate limit that says how long it lasts is waited out elsewhere; where that is less than the backoff (as with a
    clock that runs ahead of the provider's), the backoff holds.
    """

    attempts: int = field(default=8, validator=ge(1))
    first_wait: float = 0.5
    longest_wait: float = 30.0

    @property
    def probing(self) -> RetryPolicy:
        """For what is asked only to find out whether it can be answered."""
        return evolve(self, attempts=min(self.attempts, FEW_ATTEMPTS))

    def sync(self, clock: Clock, should_retry: Callable[[BaseException], bool], on_retry: OnRetry) -> Retrying:
        return Retrying(sleep=clock.sleep, **self._options(should_retry, on_retry))

    def asynchronous(
        self, clock: Clock, should_retry: Callable[[BaseException], bool], on_retry: OnRetry
    ) -> AsyncRetrying:
        return AsyncRetrying(sleep=clock.sleep_async, **self._options(should_retry, on_retry))

    def _options(self, should_retry: Callable[[BaseException], bool], on_retry: OnRetry) -> dict[str, Any]:
        def report(state: RetryCallState) -> None:
            on_retry(state.attempt_number, state.next_action.sleep if state.next_action else 0.0, str(_error_of(state)))

        return {
            "stop": stop_after_attempt(self.attempts),
            "wait": self._wait(),
            "retry": retry_if_exception(should_retry),
            "before_sleep": report,
            "reraise": True,
        }

    def _wait(self) -> Callable[[RetryCallState], float]:
        backoff = wait_exponential_jitter(multiplier=self.first_wait, max=self.longest_wait, jitter=self.first_wait)

        def wait(state: RetryCallState) -> float:
            error, seconds = _error_of(state), backoff(state)
            told = error.retry_after if isinstance(error, RateLimitedError) else None
            return 0.0 if told is not None and told >= seconds else seconds

        return wait


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
