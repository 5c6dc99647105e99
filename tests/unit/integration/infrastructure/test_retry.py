from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from marketpipe.integration.infrastructure.retry import RetryPolicy
from marketpipe.shared_kernel.domain.errors import (
    ConnectionFailedError,
    CredentialsError,
    IngestionInterrupted,
    ProviderUnavailableError,
    RateLimitedError,
    TransientProviderError,
    WrongAnswerError,
)
from marketpipe.testing import FakeClock

Retries = list[tuple[int, float, str]]


class Attempts:
    """Something that fails with the given errors, in turn, and then succeeds."""

    def __init__(self, *errors: BaseException) -> None:
        self._errors = list(errors)
        self.made = 0

    def __call__(self) -> str:
        self.made += 1
        if self._errors:
            raise self._errors.pop(0)
        return "done"

    async def later(self) -> str:
        return self()


def run(policy: RetryPolicy, attempts: Attempts, clock: FakeClock, retries: Retries) -> str:
    result: str = policy.sync(clock, _transient, lambda *retry: retries.append(retry))(attempts)
    return result


def run_async(policy: RetryPolicy, attempts: Attempts, clock: FakeClock, retries: Retries) -> str:
    retrying = policy.asynchronous(clock, _transient, lambda *retry: retries.append(retry))

    async def result() -> str:
        found: str = await retrying(attempts.later)
        return found

    return asyncio.run(result())


def _transient(error: BaseException) -> bool:
    return isinstance(error, TransientProviderError)


BOTH = pytest.mark.parametrize("play", [run, run_async], ids=["sync", "async"])
Play = Callable[[RetryPolicy, Attempts, FakeClock, Retries], str]


def gone(count: int) -> list[ProviderUnavailableError]:
    return [ProviderUnavailableError(f"gone {number}") for number in range(1, count + 1)]


@BOTH
def test_success_needs_no_second_attempt(play: Play) -> None:
    clock, retries, attempts = FakeClock(), Retries(), Attempts()
    assert play(RetryPolicy(), attempts, clock, retries) == "done"
    assert (attempts.made, clock.slept, retries) == (1, [], [])


@BOTH
def test_a_transient_error_is_tried_again_until_it_passes(play: Play) -> None:
    clock, retries, attempts = FakeClock(), Retries(), Attempts(*gone(3))
    assert play(RetryPolicy(), attempts, clock, retries) == "done"
    assert attempts.made == 4
    assert retries == [(number, clock.slept[number - 1], f"gone {number}") for number in (1, 2, 3)]


@BOTH
@pytest.mark.parametrize("allowed", [1, 2, 8])
def test_attempts_are_counted_exactly_and_the_last_error_comes_out(play: Play, allowed: int) -> None:
    clock, retries, attempts = FakeClock(), Retries(), Attempts(*gone(99))
    with pytest.raises(ProviderUnavailableError, match=f"gone {allowed}$"):
        play(RetryPolicy(attempts=allowed), attempts, clock, retries)
    assert (attempts.made, len(clock.slept), len(retries)) == (allowed, allowed - 1, allowed - 1)


@BOTH
@pytest.mark.parametrize(("allowed", "sent"), [(8, 3), (2, 2), (1, 1)])
def test_an_answer_to_another_question_is_asked_for_twice_more_at_most(play: Play, allowed: int, sent: int) -> None:
    retries, attempts = Retries(), Attempts(*[WrongAnswerError("of MSFT")] * 9)
    with pytest.raises(WrongAnswerError, match="of MSFT"):
        play(RetryPolicy(attempts=allowed), attempts, FakeClock(), retries)
    assert (attempts.made, len(retries)) == (sent, sent - 1)


@BOTH
@pytest.mark.parametrize(("reached_before", "sent"), [(False, 3), (True, 8)])
def test_a_provider_that_was_never_reached_gets_few_retries(play: Play, reached_before: bool, sent: int) -> None:
    clock, attempts = FakeClock(), Attempts(*[ConnectionFailedError("refused", reached_before)] * 9)
    with pytest.raises(ConnectionFailedError, match="refused"):
        play(RetryPolicy(), attempts, clock, Retries())
    assert attempts.made == sent
    assert sum(clock.slept) < (3 if sent == 3 else 120)


@BOTH
def test_waits_double_with_jitter_up_to_the_longest(play: Play) -> None:
    for _ in range(10):
        clock = FakeClock()
        play(RetryPolicy(attempts=9, first_wait=0.5, longest_wait=20.0), Attempts(*gone(8)), clock, Retries())
        bounds = [(0.5, 1.0), (1.0, 1.5), (2.0, 2.5), (4.0, 4.5), (8.0, 8.5), (16.0, 16.5), (20.0, 20.0), (20.0, 20.0)]
        assert [low <= slept <= high for slept, (low, high) in zip(clock.slept, bounds, strict=True)] == [True] * 8


def test_jitter_keeps_waits_apart() -> None:
    waits = set()
    for _ in range(20):
        clock = FakeClock()
        run(RetryPolicy(), Attempts(*gone(1)), clock, Retries())
        waits |= set(clock.slept)
    assert len(waits) == 20


@BOTH
def test_a_terminal_error_is_not_tried_again(play: Play) -> None:
    clock, retries, attempts = FakeClock(), Retries(), Attempts(CredentialsError("no"))
    with pytest.raises(CredentialsError):
        play(RetryPolicy(), attempts, clock, retries)
    assert (attempts.made, clock.slept, retries) == (1, [], [])


@BOTH
@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt(), IngestionInterrupted("stop")], ids=repr)
def test_other_errors_pass_through(play: Play, error: BaseException) -> None:
    attempts = Attempts(error)
    with pytest.raises(type(error)):
        play(RetryPolicy(), attempts, FakeClock(), Retries())
    assert attempts.made == 1


@BOTH
def test_an_interruption_while_waiting_passes_through(play: Play) -> None:
    clock, attempts = FakeClock(), Attempts(*gone(99))
    clock.interrupt()
    with pytest.raises(IngestionInterrupted):
        play(RetryPolicy(), attempts, clock, Retries())
    assert attempts.made == 1


@BOTH
def test_a_rate_limit_with_an_end_is_not_waited_for_here(play: Play) -> None:
    """The rate limiter waits that long; waiting here as well would double it."""
    clock, retries = FakeClock(), Retries()
    play(RetryPolicy(), Attempts(RateLimitedError("slow down", 42.0)), clock, retries)
    assert (clock.slept, retries) == ([0.0], [(1, 0.0, "slow down")])


@BOTH
def test_a_rate_limit_without_an_end_backs_off(play: Play) -> None:
    clock = FakeClock()
    play(RetryPolicy(), Attempts(RateLimitedError("slow down"), RateLimitedError("slow down")), clock, Retries())
    assert [0.5 <= clock.slept[0] <= 1.0, 1.0 <= clock.slept[1] <= 1.5, len(clock.slept)] == [True, True, 2]


@BOTH
@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.4])
def test_a_rate_limit_that_seems_to_be_over_still_backs_off(play: Play, seconds: float) -> None:
    """For example if the provider's clock runs behind ours, so that every reset is in the past."""
    clock, attempts = FakeClock(), Attempts(*[RateLimitedError("slow down", seconds)] * 7)
    assert play(RetryPolicy(), attempts, clock, Retries()) == "done"
    assert clock.monotonic() >= 0.5 + 1 + 2 + 4 + 8 + 16 + 30


def test_a_policy_has_at_least_one_attempt() -> None:
    with pytest.raises(ValueError, match="attempts"):
        RetryPolicy(attempts=0)


def test_probing_has_fewer_attempts_and_never_more() -> None:
    assert [RetryPolicy(attempts=number).probing.attempts for number in (1, 3, 8)] == [1, 3, 3]
