"""A market data provider on loopback that costs almost no processor time: made-up bars in Alpaca's format.

    python benchmarks/page_server.py --first 2024-01-02 --last 2024-12-31 [--bars-a-day 390] [--latency-ms 0]

prints its address and serves until its standard input is closed. ``/v2/stocks/bars`` supports symbols, start, end,
limit and page_token, and sends gzip if the client accepts it. It has daily bars only with ``--daily``. ``/counts``
returns the numbers of requests, bars and bytes and the processor time so far. ``PageServer`` runs it as a child
process. The bars of minutes are made in synthetic_pages.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from datetime import time as clock_time
from itertools import groupby
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.comparison import parse_options
from benchmarks.synthetic_pages import SyntheticPages

from marketpipe.shared_kernel.domain.trading_date import TradingDate, TradingSession
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar

END_OF_HEAD = b"\r\n\r\n"
PAGE_LIMIT = 10_000
DAILY = '{"t":"%s","o":100.0,"h":110.0,"l":90.0,"c":101.0,"v":1000,"n":10,"vw":100.5}'
NEW_YORK = ZoneInfo("America/New_York")


class PageServer:
    """A context manager that runs the server as a child process, at ``url``. Both trading dates are inclusive."""

    def __init__(
        self,
        first: str,
        last: str,
        *bars_a_day: int,
        latency_ms: float = 0.0,
        page_limit: int = PAGE_LIMIT,
        daily: bool = False,
    ) -> None:
        """With several numbers of ``bars_a_day`` each symbol has one of them; without any every symbol has 390.

        With ``daily`` each symbol has a daily bar of each session, too.
        """
        counts = map(str, bars_a_day or (390,))
        arguments = ("--first", first, "--last", last, "--bars-a-day", *counts, "--latency-ms", str(latency_ms))
        arguments += "--page-limit", str(page_limit)
        arguments += ("--daily",) if daily else ()
        self._command = [sys.executable, __file__, *arguments]

    def __enter__(self) -> PageServer:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the page server did not start; its own error message is above")
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.communicate(timeout=30)

    def counts(self) -> dict[str, float]:
        """Return the numbers of requests, bars and bytes and the processor seconds since the start."""
        with urllib.request.urlopen(f"{self.url}/counts") as response:
            counts: dict[str, float] = json.load(response)
        return counts


class Counters:
    def __init__(self) -> None:
        self.requests, self.bars, self.bytes = 0, 0, 0
        self._since = time.process_time()

    def as_json(self) -> bytes:
        seconds = time.process_time() - self._since
        counted = {"requests": self.requests, "bars": self.bars, "bytes": self.bytes, "processor_seconds": seconds}
        return json.dumps(counted).encode()


class DailyBars:
    """One bar of each session, the same for all symbols; without sessions none."""

    def __init__(self, sessions: Sequence[TradingSession]) -> None:
        moments = (datetime.combine(session.trading_date.day, clock_time(), NEW_YORK) for session in sessions)
        self._bars = [(moment.timestamp(), DAILY % moment.astimezone(UTC).isoformat()) for moment in moments]

    def page(self, symbols: Sequence[str], start: float, end: float, limit: int, skipped: int) -> bytes:
        texts = [text for moment, text in self._bars if start <= moment <= end]
        wanted = range(skipped, min(skipped + limit, len(symbols) * len(texts)))
        parts = groupby(wanted, key=lambda number: number // len(texts))
        bars = (f'"{symbols[at]}":[{",".join(texts[n % len(texts)] for n in some)}]' for at, some in parts)
        is_last = wanted.stop >= len(symbols) * len(texts)
        token = "null" if is_last else f'"{wanted.stop}"'
        return f'{{"bars":{{{",".join(bars)}}},"next_page_token":{token}}}'.encode()


class PageProtocol(asyncio.Protocol):
    """The part of HTTP/1.1 that a client with a connection pool needs."""

    def __init__(
        self,
        pages: SyntheticPages,
        counters: Counters,
        latency: float,
        page_limit: int = PAGE_LIMIT,
        daily: DailyBars | None = None,
    ) -> None:
        self._pages, self._counters, self._latency, self._limit = pages, counters, latency, page_limit
        self._daily = daily or DailyBars(())
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while END_OF_HEAD in self._received:
            head, _, self._received = self._received.partition(END_OF_HEAD)
            self._respond(head.decode("latin-1"))

    def _respond(self, head: str) -> None:
        target, gzipped = head.split(" ", 2)[1], "gzip" in head.lower()
        url = urlsplit(target)
        if url.path == "/counts":
            self._send(_http(self._counters.as_json()))
        elif url.path == "/v2/stocks/bars":
            response = self._page(dict(parse_qsl(url.query)), gzipped)
            asyncio.get_running_loop().call_later(self._latency, self._send, response)
        else:
            self._send(_http(b'{"message":"endpoint not found."}', "404 Not Found"))

    def _page(self, query: Mapping[str, str], gzipped: bool) -> bytes:
        try:
            start, end = (int(datetime.fromisoformat(query[name]).timestamp()) for name in ("start", "end"))
            symbols = tuple(sorted(set(query["symbols"].split(","))))
            limit, skipped = min(self._limit, int(query.get("limit", "1000"))), int(query.get("page_token", "0"))
        except (KeyError, ValueError) as error:
            return _http(json.dumps({"message": f"bad query: {error}"}).encode(), "400 Bad Request")
        if query.get("timeframe") == "1Day":
            self._counters.requests += 1
            return _http(self._daily.page(symbols, start, end, limit, skipped))
        page = self._pages.page(symbols, start, end, limit, skipped)
        body = page.gzipped if gzipped else page.raw
        self._counters.requests += 1
        self._counters.bars += page.bars
        self._counters.bytes += len(body)
        return _http(body, "200 OK", *(["Content-Encoding: gzip"] if gzipped else []))

    def _send(self, response: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(response)


def _http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", required=True, type=TradingDate.parse)
    parser.add_argument("--last", required=True, type=TradingDate.parse)
    parser.add_argument("--bars-a-day", type=int, nargs="+", default=[390])
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--page-limit", type=int, default=PAGE_LIMIT, help="most bars of a page")
    parser.add_argument("--daily", action="store_true", help="serve daily bars, too")
    options = parse_options(parser)
    sessions = ExchangeCalendar(latest=options.last).sessions(options.first, options.last)
    pages = SyntheticPages(sessions, options.bars_a_day)
    pages.warm_up()
    daily = DailyBars(sessions if options.daily else ())
    asyncio.run(_serve(pages, daily, options.port, options.latency_ms / 1000, options.page_limit))


async def _serve(pages: SyntheticPages, daily: DailyBars, port: int, latency: float, page_limit: int) -> None:
    loop, counters = asyncio.get_running_loop(), Counters()
    server = await loop.create_server(
        lambda: PageProtocol(pages, counters, latency, page_limit, daily), "127.0.0.1", port
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    main()
