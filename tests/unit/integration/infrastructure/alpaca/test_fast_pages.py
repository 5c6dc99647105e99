"""The fast reader of pages: which pages it reads, and what of them. It is compared with msgspec in tests/fuzz."""

from __future__ import annotations

import os
import sys
from random import Random

import pyarrow as pa
import pytest

from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.integration.infrastructure.alpaca.fast_pages import FastPages, PageScanner, ReadPage
from marketpipe.integration.infrastructure.alpaca.response_parser import ResponseParser
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from tests.support.child_processes import run

AAPL, MSFT = Symbol("AAPL"), Symbol("MSFT")
WANTED = {"AAPL": AAPL, "MSFT": MSFT}
BAR = '{"c":185.31,"h":185.5,"l":185,"n":12,"o":185.02,"t":"2024-01-02T14:30:00Z","v":1200,"vw":185.300412}'
END = ',"next_page_token":null}'


@pytest.fixture
def pages() -> FastPages:
    pytest.importorskip("numba", reason="the extra fast is not installed")
    return FastPages.at_once()


def body(bars: str = f'"AAPL":[{BAR}]', end: str = END) -> bytes:
    return f'{{"bars":{{{bars}}}{end}'.encode()


def test_a_usual_page_is_read(pages: FastPages) -> None:
    later = BAR.replace("14:30", "14:31").replace("1200", "7")

    found = pages.read(body(f'"AAPL":[{BAR},{later}],"MSFT":[{BAR}]', ',"next_page_token":"TVNGVHxN"}\n'), WANTED)

    assert found is not None
    assert (found.runs, found.next_cursor) == ((SymbolRun(AAPL, 2), SymbolRun(MSFT, 1)), "TVNGVHxN")
    table = pa.table(found.columns)
    assert table.schema.equals(BAR_SCHEMA)
    assert table["volume"].to_pylist() == [1200.0, 7.0, 1200.0]
    assert [str(moment) for moment in table["timestamp"].to_pylist()[:2]] == [
        "2024-01-02 14:30:00+00:00",
        "2024-01-02 14:31:00+00:00",
    ]


@pytest.mark.parametrize(
    "unusual",
    [
        body(""),
        body('"AAPL":[]'),
        body(f'"AAPL":null,"MSFT":[{BAR}]'),
        body(f'"AAPL":[{BAR}],"AAPL":[{BAR}]'),
        body(f'"MSFT":[{BAR}],"AAPL":[{BAR}]'),
        body(f'"GOOG":[{BAR}]'),
        body(end=',"next_page_token":null,"currency":"USD"}'),
        body(end=',"next_page_token":""}'),
        body(end=',"next_page_token":null} '),
        body().replace(b":", b": "),
        body().replace(b'"c":185.31,', b""),
        body().replace(b'"n":12,', b""),
        body().replace(b'"n":12', b'"n":null'),
        body().replace(b'"n":12', b'"n":12.0'),
        body().replace(b'"n":12', b'"c":12'),
        body().replace(b'"n":12', b'"x":1,"n":12'),
        body().replace(b"185.02", b"-185.02"),
        body().replace(b"185.02", b"1.8502e2"),
        body().replace(b"185.02", b"0185.02"),
        body().replace(b"185.02", b"185.0212345678901234"),
        body().replace(b"1200", b"9007199254740992"),
        body().replace(b"30:00Z", b"30:00.5Z"),
        body().replace(b"30:00Z", b"30:00+00:00"),
        body().replace(b"01-02T", b"02-30T"),
        body().replace(b"AAPL", b"\xffAPL"),
        body().replace(b"AAPL", b"\\u0041APL"),
        body()[:-1],
        body()[:80],
        b"",
        b"[]",
    ],
)
def test_what_is_unusual_is_left_to_the_other_readers(pages: FastPages, unusual: bytes) -> None:
    assert pages.read(body(), WANTED) is not None
    assert pages.read(unusual, WANTED) is None


@pytest.mark.parametrize("cut", range(0, len(body()), 7))
def test_no_byte_behind_a_page_is_read(pages: FastPages, cut: int) -> None:
    assert pages.read(body()[:cut], WANTED) is None


def test_numbers_are_the_nearest_doubles(pages: FastPages) -> None:
    random = Random(3)
    texts = [
        f"{random.randint(0, 10 ** (15 - places) - 1)}.{random.randint(0, 10**places - 1):0{places}d}"
        for places in (random.randint(1, 14) for _ in range(3000))
    ]
    found = pages.read(body(f'"AAPL":[{",".join(BAR.replace("185.31", text) for text in texts)}]'), WANTED)

    assert found is not None
    assert pa.table(found.columns)["close"].to_pylist() == list(map(float, texts))


def test_the_parser_returns_what_was_read_fast(pages: FastPages) -> None:
    fast, slow = (ResponseParser([AAPL, MSFT], fast_pages=each).parse(body()) for each in (pages, None))

    assert [pa.table(page.columns).to_pylist() for page in (fast, slow)] == [pa.table(slow.columns).to_pylist()] * 2
    assert _without_columns(fast) == _without_columns(slow)


def test_the_machine_code_is_loaded_once_and_not_before_it_is_worth_it() -> None:
    loads, page = list[str](), body()

    def load() -> ReadPage:
        loads.append("loaded")
        return lambda _, __: RawMarketData(BAR_SCHEMA.empty_table())

    scanner = PageScanner(load, worth_loading=2 * len(page))
    one, other = FastPages(scanner), FastPages(scanner)

    assert [one.read(page, WANTED) is not None for _ in range(4)] == [False, False, True, True]
    assert other.read(page, WANTED) is not None  # it is there already
    assert loads == ["loaded"]


def test_without_numba_no_page_is_read_and_it_is_looked_for_once() -> None:
    looked = list[str]()
    pages = FastPages(PageScanner(lambda: looked.append("looked"), 0))

    assert [pages.read(body(), WANTED) for _ in range(3)] == [None] * 3
    assert looked == ["looked"]


def test_where_numba_compiles_nothing_no_page_is_read(pages: FastPages) -> None:
    """The scanner would run in the interpreter, and take a hundred times as long as msgspec."""
    read = f"print(FastPages.at_once().read({body()!r}, {{'AAPL': Symbol('AAPL')}}))"
    imports = [f"from {each.__module__} import {each.__name__}" for each in (FastPages, Symbol)]

    done = run([sys.executable, "-c", "\n".join([*imports, read])], env={**os.environ, "NUMBA_DISABLE_JIT": "1"})

    assert (done.returncode, done.stdout, done.stderr) == (0, "None\n", "")


def _without_columns(page: RawMarketData) -> tuple[object, ...]:
    return page.runs, page.next_cursor, page.refused, page.unrequested
