"""What a failed response means, and when a failed request is sent again."""

from __future__ import annotations

import json
import random
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
)

from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateLimitReport
from marketpipe.shared_kernel.domain.errors import (
    BadRequestError,
    ConnectionFailedError,
    CredentialsError,
    EntitlementError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitedError,
    TerminalProviderError,
    WrongAnswerError,
)
from marketpipe.shared_kernel.domain.timestamp import Clock

PROBING_ATTEMPTS = 3
MOST_DOUBLINGS = 64
"""Of the first wait; any wait is longer than the longest one by then."""
LONGEST_MESSAGE = 200
"""Characters of a provider's message that an error shows."""

OnRetry = Callable[[int, float, str], None]
"""Takes the number of the attempt that failed (from 1), the seconds until the next one, and the reason."""


@frozen
class RetryPolicy:
    """Exponential backoff with jitter: how often a request is sent, and how long to wait in between, in seconds.

    Jitter keeps threads that failed together from coming back together.
    """

    attempts: int = field(default=8, validator=ge(1))
    first_wait: float = 0.5
    longest_wait: float = 30.0
    uniform: Callable[[float, float], float] = field(default=random.uniform, repr=False, eq=False)
    """Where the jitter comes from."""

    @property
    def probing(self) -> RetryPolicy:
        """Return the policy for parts of a request that failed with full retries, sent to find the part that fails.

        With full retries each part would take a minute, and a bisection has many parts.
        """
        return evolve(self, attempts=min(self.attempts, PROBING_ATTEMPTS))

    @property
    def hurried(self) -> RetryPolicy:
        """The former name of ``probing``."""
        return self.probing

    def sync(self, clock: Clock, should_retry: Callable[[BaseException], bool], on_retry: OnRetry) -> Retrying:
        """Return the attempts of one request: iterate over them, and send it inside each. The last error is raised."""
        return Retrying(sleep=clock.sleep, **self._options(should_retry, on_retry))

    def asynchronous(
        self, clock: Clock, should_retry: Callable[[BaseException], bool], on_retry: OnRetry
    ) -> AsyncRetrying:
        """Do the same as ``sync`` for ``async for``. Make a new one for each request: it keeps the attempt's state."""
        return AsyncRetrying(sleep=clock.sleep_async, **self._options(should_retry, on_retry))

    def _options(self, should_retry: Callable[[BaseException], bool], on_retry: OnRetry) -> dict[str, Any]:
        def report(state: RetryCallState) -> None:
            on_retry(state.attempt_number, state.next_action.sleep if state.next_action else 0.0, str(_error_of(state)))

        return {
            "stop": self._is_last,
            "wait": self._wait(),
            "retry": retry_if_exception(should_retry),
            "before_sleep": report,
            "reraise": True,
        }

    def _is_last(self, state: RetryCallState) -> bool:
        # Unlike a server in trouble, one that answers another question seldom comes to answer the right one, and one
        # that was never reached is seldom reached in a minute: an address is wrong, or there is no network.
        error = _error_of(state)
        is_hopeless = isinstance(error, WrongAnswerError) or (
            isinstance(error, ConnectionFailedError) and not error.reached_before
        )
        return state.attempt_number >= (self.probing.attempts if is_hopeless else self.attempts)

    def _wait(self) -> Callable[[RetryCallState], float]:
        def wait(state: RetryCallState) -> float:
            error, seconds = _error_of(state), self._backoff(state.attempt_number)
            limit_ends_in = error.retry_after if isinstance(error, RateLimitedError) else None
            # The rate limiter waits until the limit ends; waiting here too would double it. An end that comes before
            # the backoff is not trusted: if our clock runs ahead of the provider's, every limit seems to be over.
            return 0.0 if limit_ends_in is not None and limit_ends_in >= seconds else seconds

        return wait

    def _backoff(self, attempt: int) -> float:
        doubled = self.first_wait * 2.0 ** min(attempt - 1, MOST_DOUBLINGS)
        return min(doubled + self.uniform(0, self.first_wait), self.longest_wait)


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def classify_status(provider: str, status: int, body: bytes, limit: RateLimitReport) -> ProviderError:
    """Return the error that an HTTP status stands for, unless a provider's client overrides it."""
    message = f"{provider} answered {status}: {provider_message(body) or _phrase(status)}"
    if status == 429:
        return RateLimitedError(message, limit.seconds_to_wait)
    if status == 408:
        return ProviderTimeoutError(message)
    if status >= 500:
        return ProviderUnavailableError(message)
    if status in (401, 407):
        return CredentialsError(f"{message}. Check the key and the secret")
    if status in (402, 403):
        return EntitlementError(message)
    if 300 <= status < 400:
        return TerminalProviderError(f"{message}. Redirects are not followed: correct base_url")
    return BadRequestError(message)


def provider_message(body: bytes) -> str:
    """Return the provider's own message as one short line of valid Unicode.

    That is ``message`` of a JSON body, or the text of any other body without its HTML tags. At most 4 KiB are read.
    """
    text = body[:4096].decode("utf-8", "replace")
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    has_message = isinstance(parsed, dict) and "message" in parsed
    message = str(parsed["message"]) if has_message else re.sub(r"<[^>]*>", " ", text)
    return " ".join(message.split())[:LONGEST_MESSAGE].rstrip(".").encode("utf-8", "replace").decode()


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "no message"
