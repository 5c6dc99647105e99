from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.integration.infrastructure.prefetcher import PagesAhead
from marketpipe.shared_kernel.domain.errors import ProviderUnavailableError
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from tests.support.builders import request

REQUEST = request(["AAPL"], "2024-01-02", "2024-01-02")


class _Provider:
    """Gives so many pages, then fails or ends. ``asked`` has an event for each page that is asked for."""

    def __init__(self, pages: int, error: Exception | None = None) -> None:
        self._pages, self._error = pages, error
        self.asked = [threading.Event() for _ in range(pages + 1)]

    def fetch_batch(self, _: Any) -> Iterator[RawMarketData]:
        for number in range(self._pages):
            self.asked[number].set()
            yield RawMarketData(BAR_SCHEMA.empty_table(), next_cursor=str(number))
        self.asked[self._pages].set()
        if self._error is not None:
            raise self._error


def _source(provider: _Provider) -> PagesAhead:
    return PagesAhead(provider)  # type: ignore[arg-type]


def _ahead() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("marketpipe-ahead")]


def test_the_next_page_is_asked_for_while_one_is_at_work() -> None:
    provider = _Provider(3)

    with _source(provider).pages(REQUEST) as pages:
        next(pages)
        assert provider.asked[1].wait(10)


def test_no_more_than_one_page_waits() -> None:
    provider = _Provider(4)

    with _source(provider).pages(REQUEST) as pages:
        next(pages)
        assert provider.asked[1].wait(10)
        assert not provider.asked[2].wait(0.1)
        next(pages)
        assert provider.asked[2].wait(10)


def test_every_page_comes_once_and_in_order() -> None:
    with _source(_Provider(5)).pages(REQUEST) as pages:
        assert [page.next_cursor for page in pages] == ["0", "1", "2", "3", "4"]


def test_an_error_comes_after_the_pages_before_it() -> None:
    with _source(_Provider(2, ProviderUnavailableError("503"))).pages(REQUEST) as pages:
        assert [next(pages).next_cursor, next(pages).next_cursor] == ["0", "1"]
        with pytest.raises(ProviderUnavailableError):
            next(pages)


def test_who_leaves_early_leaves_no_thread_behind() -> None:
    with _source(_Provider(3)).pages(REQUEST) as pages:
        next(pages)

    assert _ahead() == []
