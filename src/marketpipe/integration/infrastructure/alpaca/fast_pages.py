"""Reads usual pages without the interpreter's lock if Numba is installed (the extra ``fast``). See docs/adr/0043.

``ResponseParser`` reads every page that is not read here, and decides what is refused: what this returns is exactly
what it would return.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa

from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA

logger = logging.getLogger("marketpipe.integration")

WORTH_LOADING: Final = 50_000_000
"""Bytes of pages, of about 500,000 bars, after which a process imports Numba: less would not earn back what that takes.

So it costs at most what it could have saved by then."""

IN_USE: Final = "machine code reads the pages from now on: the extra fast, Numba %s"
UNUSABLE: Final = "the extra fast does not work on this machine, pages are read without it: %s"

ReadPage = Callable[[bytes, Mapping[str, Symbol]], RawMarketData | None]


class PageScanner:
    """Counts pages, and loads the machine code once that is worth it: on the thread of the page that makes it so.

    Other threads do not wait for it.
    """

    def __init__(self, load: Callable[[], ReadPage | None], worth_loading: int = WORTH_LOADING) -> None:
        """``load`` returns None if the machine code cannot be had."""
        self._load, self._left = load, worth_loading
        self._read_page: ReadPage | None = None
        self._loading, self._is_tried = threading.Lock(), False

    def for_page(self, size_bytes: int) -> ReadPage | None:
        """Return what reads pages; None as long as it is not loaded, and if it cannot be."""
        self._left -= size_bytes
        if self._left < 0 and not self._is_tried and self._loading.acquire(blocking=False):
            try:
                self._read_page, self._is_tried = self._load(), True
            finally:
                self._loading.release()
        return self._read_page


def _loaded() -> ReadPage | None:
    try:
        from numba import __version__, config
        from numba.core.errors import NumbaError
    except ModuleNotFoundError:  # the extra is not installed
        return None
    except ImportError as error:  # with a numpy that this Numba does not know
        logger.warning(UNUSABLE, error)
        return None
    if config.DISABLE_JIT:  # the scanner would be interpreted, and take a hundred times as long as msgspec
        return None
    try:
        from marketpipe.integration.infrastructure.alpaca import page_scanner

        _scan(page_scanner, b"{}")  # compiles it, or reads what was compiled
    except (NumbaError, ImportError, OSError, RuntimeError, LookupError, ValueError) as error:
        logger.warning(UNUSABLE, error)
        return None
    logger.info(IN_USE, __version__)
    return lambda body, wanted: _page(page_scanner, body, wanted)


def _scan(scanner: Any, body: bytes) -> tuple[tuple[int, int, int, int], Any, Any, Any]:
    room = len(body) // scanner.SHORTEST_BAR + 1
    prices, wholes = np.empty((6, room)), np.empty((2, room), np.int64)
    names = np.empty((scanner.MOST_SYMBOLS, 3), np.int64)
    padded = np.frombuffer(body + scanner.PADDING, np.uint8)
    return scanner.scan(padded, prices, wholes, names), prices, wholes, names


def _page(scanner: Any, body: bytes, wanted: Mapping[str, Symbol]) -> RawMarketData | None:
    (bars, symbols, first, last), prices, wholes, names = _scan(scanner, body)
    if bars < 0:
        return None
    found = [(wanted.get(body[start:end].decode("ascii")), count) for start, end, count in names[:symbols].tolist()]
    runs = tuple(SymbolRun(symbol, count) for symbol, count in found if symbol is not None)
    if len(runs) < len(found) or any(one.symbol >= other.symbol for one, other in pairwise(runs)):
        return None
    opens, highs, lows, closes, volumes, vwaps = prices
    times, counts = wholes
    values = times, opens, highs, lows, closes, volumes, counts, vwaps
    columns = [
        pa.Array.from_buffers(field.type, bars, [None, pa.py_buffer(column)], 0)
        for field, column in zip(BAR_SCHEMA, values, strict=True)
    ]
    cursor = body[first:last].decode("ascii") if last else None
    return RawMarketData(pa.table(columns, schema=BAR_SCHEMA), runs, cursor)


OF_THIS_PROCESS: Final = PageScanner(_loaded)


class FastPages:
    """The fast way to read pages, from when it is worth it on; until then, and without Numba, it reads none."""

    def __init__(self, scanner: PageScanner = OF_THIS_PROCESS) -> None:
        self._scanner = scanner

    @classmethod
    def at_once(cls) -> FastPages:
        """Return one that loads the machine code with the first page."""
        return cls(PageScanner(_loaded, 0))

    def read(self, body: bytes, wanted: Mapping[str, Symbol]) -> RawMarketData | None:
        """Return the page; None for a page that has anything unusual, or that is not for ``wanted`` alone."""
        read_page = self._scanner.for_page(len(body))
        return None if read_page is None else read_page(body, wanted)
