"""The contract of providers over HTTP fails for whoever breaks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tests.contract.test_market_data_provider as contract
from marketpipe.integration.application.ports import MarketDataProvider
from marketpipe.integration.domain.data_feed import ProviderContext
from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.integration.infrastructure.auth import HeaderTokenAuth
from marketpipe.integration.infrastructure.http_exchange import HttpExchange
from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateLimiter, RateWindow
from marketpipe.integration.infrastructure.retry import RetryPolicy
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import IngestionInterrupted, MalformedResponseError, ProviderError
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.testing import FakeClock, HttpProviderContract, read_pages, read_pages_async
from tests.support.example_provider import CAPABILITIES, AcmeClient

New = Callable[[str, ProviderContext], MarketDataProvider]
ONE_ATTEMPT, MANY_ATTEMPTS = RetryPolicy(attempts=1), RetryPolicy(attempts=60)


class Contract(contract.TestAcme):
    """The contract of one kind of client for Acme; not called ``Test…``, so that pytest does not collect it."""

    def __init__(self, new: New) -> None:
        self.new_provider = new  # type: ignore[method-assign]


def client(
    url: str,
    context: ProviderContext,
    kind: type[AcmeClient] = AcmeClient,
    *,
    clock: FakeClock | None = None,
    limit: int = 100,
    limiter: type[RateLimiter] = RateLimiter,
    longest: float = 60.0,
    **options: Any,
) -> MarketDataProvider:
    auth, used = HeaderTokenAuth({"Authorization": "Bearer acme-token"}), clock or context.clock
    http = HttpExchange(url, auth, longest_body_seconds=longest)
    return kind(CAPABILITIES, http, limiter([RateWindow(limit)], used), used, **{"publish": context.publish, **options})


def broken(kind: type[AcmeClient] = AcmeClient, **options: Any) -> New:
    return lambda url, context: client(url, context, kind, **options)


class TakesAPartForNothing(AcmeClient):
    def parse_response(self, request: BarsRequest, body: bytes) -> RawMarketData:
        try:
            return super().parse_response(request, body)
        except MalformedResponseError:
            return RawMarketData(BAR_SCHEMA.empty_table())


class RetriesEverything(AcmeClient):
    def should_retry(self, error: BaseException) -> bool:
        return isinstance(error, ProviderError)


class NeverPauses(RateLimiter):
    def pause(self, seconds: float) -> None:
        """Ignore what the server asks for."""


READERS = {"reader": read_pages}, {"reader": read_pages_async}
FAULTS = "500", "503", "429", "dropped", "cut", "malformed"
PROOFS: list[tuple[New, str, dict[str, Any]]] = [
    *(
        (broken(retry=ONE_ATTEMPT), "a_fault_is_survived", {"fault": fault} | reader)
        for fault in FAULTS
        for reader in READERS
    ),
    (broken(retry=ONE_ATTEMPT, longest=0.01), "a_fault_is_survived", {"fault": "slow"} | READERS[0]),
    *(
        (broken(retry=ONE_ATTEMPT), "a_fault_between_two_pages_loses_no_bar_and_repeats_none", {"fault": fault})
        for fault in FAULTS
    ),
    *(
        (broken(retry=MANY_ATTEMPTS), "a_lasting_fault_ends_with_an_error_that_may_pass", {"fault": fault})
        for fault in ("500", "429", "dropped", "malformed")
    ),
    (broken(TakesAPartForNothing), "a_lasting_fault_ends_with_an_error_that_may_pass", {"fault": "malformed"}),
    (broken(limiter=NeverPauses), "retry_after_is_obeyed", {}),
    (broken(clock=FakeClock()), "a_wait_ends_when_the_clock_is_interrupted", {}),
    (broken(RetriesEverything), "refused_keys_stop_the_job_and_are_not_tried_again", {}),
    (broken(RetriesEverything), "a_refused_request_is_not_sent_again", {}),
    (broken(limit=101), "requests_keep_the_rate_limit", {}),
    (broken(publish=lambda _: None), "every_request_is_reported", {}),
]


def _id(value: object) -> str:
    if isinstance(value, dict):
        return "-".join(getattr(each, "__name__", str(each)) for each in value.values())
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize(("new", "test", "arguments"), PROOFS, ids=_id)
def test_a_provider_that_breaks_the_contract_fails(new: New, test: str, arguments: dict[str, Any]) -> None:
    with pytest.raises((AssertionError, ProviderError, IngestionInterrupted, pytest.fail.Exception)):
        getattr(Contract(new), f"test_{test}")(**arguments)


def test_every_test_of_the_contract_has_a_provider_that_fails_it() -> None:
    tests = {name.removeprefix("test_") for name in vars(HttpProviderContract) if name.startswith("test_")}
    assert {test for _, test, _ in PROOFS} == tests
