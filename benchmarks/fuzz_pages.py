"""Compare the fast reader of pages (the extra fast) with msgspec on made-up pages, usual ones and damaged ones.

    python benchmarks/fuzz_pages.py [--pages 100000] [--seed 1]

Both must give the same columns to the bit, the same symbols and cursor, or the same refusal. It prints how many pages
were read fast, read otherwise and refused, and ends with exit code 1 and the page if two answers differ.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pyarrow as pa

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.comparison import parse_options

from marketpipe.integration.infrastructure.alpaca.fast_pages import FastPages
from marketpipe.integration.infrastructure.alpaca.response_parser import ResponseParser
from marketpipe.shared_kernel.domain.errors import MarketPipeError
from marketpipe.shared_kernel.domain.symbol import Symbol

NAMES = ("A", "AAPL", "BRK.B", "MSFT", "ZZ9")
SYMBOLS = [Symbol(name) for name in NAMES]
FAST = FastPages.at_once()
ODD_VALUES = (
    *(
        "null",
        "true",
        "-1",
        "-0",
        "-0.0",
        "01",
        "1.",
        ".5",
        "+1",
        "1e3",
        "1E-400",
        "1e400",
        "2.5e-7",
        "NaN",
        "Infinity",
    ),
    *(
        "9007199254740991",
        "9007199254740992",
        "9007199254740993",
        "9223372036854775807",
        "9" * 400,
        "0." + "0" * 330 + "1",
    ),
    *(
        "0.1234567890123456789",
        "1.0000000000000000000000000",
        "0.0000000000000000000001",
        "00.5",
        "0.",
        "1.5.5",
        "1_000",
    ),
    *('"1"', '""', '"\\u0031"', '"x\\n"', "[]", "{}", "[1]", '{"c":1}', "", " 1", "1 ", "1\n", "0x10", "1,2", "\\"),
    *('"2024-02-30T09:30:00Z"', '"2024-02-29T09:30:00Z"', '"2023-02-29T09:30:00Z"', '"1900-02-29T00:00:00Z"'),
    *('"2024-01-02T24:00:00Z"', '"2024-01-02T09:60:00Z"', '"2024-01-02T09:30:60Z"', '"1969-12-31T23:59:59Z"'),
    *(
        '"2024-01-02T09:30:00.000Z"',
        '"2024-01-02T09:30:00.5Z"',
        '"2024-01-02T09:30:00.123456789Z"',
        '"9999-12-31T23:59:59Z"',
    ),
    *('"2024-01-02T09:30:00+00:00"', '"2024-01-02 09:30:00Z"', '"2024-01-02T09:30Z"', '"2024-13-02T09:30:00Z"'),
    *(
        '"0000-01-01T00:00:00Z"',
        '"2024-00-02T09:30:00Z"',
        '"2024-01-00T09:30:00Z"',
        '"2024-1-2T09:30:00Z"',
        '"20x4-01-02T09:30:00Z"',
    ),
)
ODD_TAILS = (
    *(
        "",
        "\n",
        " ",
        "\n\n",
        "\0",
        "x",
        "{}",
        ',"currency":"USD"',
        ',"currency":"EUR"',
        ',"next_page_token":"b"',
        ',"message":"no"',
    ),
)
ODD_TOKENS = (
    "null",
    '""',
    '"QUFQTHxN"',
    '"a-b"',
    '"e-b"',
    '"a_b"',
    '"\\u0041"',
    '"A="',
    "1",
    "[]",
    '"next_page_token"',
    '"é"',
    '"a b"',
)
LETTERS = b'{}[]",:.-+eE0123456789tnvwcohlTZ \n\t\\/u_\x00\x7f\x80\xff'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parse_options(parser)
    counts = Counter[str]()
    for body in made_up_pages(options.pages, options.seed):
        kind, difference = compared(body)
        counts[kind] += 1
        if difference:
            raise SystemExit(f"{difference}\n{body!r}")
    print(f"{sum(counts.values()):,} pages, seed {options.seed}, no difference: {dict(counts)}")


def made_up_pages(count: int, seed: int) -> Iterator[bytes]:
    """Yield pages: a third as Alpaca writes them, a third with odd values, a third with damaged bytes."""
    random = Random(seed)
    for number in range(count):
        odd = number % 3 == 1
        body = _page(random, odd).encode()
        yield _damaged(random, body) if number % 3 == 2 else body


def compared(body: bytes) -> tuple[str, str]:
    """Return how the page was read (fast, slowly, refused), and how the two answers differ: '' if they do not."""
    is_fast = FAST.read(body, {str(symbol): symbol for symbol in SYMBOLS}) is not None
    fast, slow = (_answer(ResponseParser(SYMBOLS, fast_pages=each), body) for each in (FAST, None))
    kind = "fast" if is_fast else "refused" if isinstance(slow, str) else "slowly"
    return kind, "" if fast == slow else f"{fast}\nis not what msgspec makes of it:\n{slow}"


def _answer(parser: ResponseParser, body: bytes) -> object:
    try:
        page = parser.parse(body)
    except MarketPipeError as error:
        return f"{type(error).__name__}: {error}"
    table = pa.table(page.columns)
    columns = [_bits(table[name]) for name in table.column_names]
    return table.schema.to_string(), columns, page.runs, page.next_cursor, page.refused, page.unrequested


def _bits(column: pa.ChunkedArray) -> list[object]:
    """Return the values so that doubles are equal only if all of their bits are."""
    whole = column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
    values: list[object] = whole.to_pylist()
    return [value.hex() if isinstance(value, float) else value for value in values]


def _page(random: Random, odd: bool) -> str:
    names = sorted(random.sample(NAMES, random.randint(0 if odd else 1, 3)))
    if odd and random.random() < 0.2:
        names = random.choices([*NAMES, "brk.b", "B-", "X", "é", '\\"'], k=len(names))
    blank = random.choice(["", "", "", " ", "\n"]) if odd else ""
    groups = [f'"{name}":{blank}[{",".join(_bars(random, odd))}]' for name in names]
    token = (
        random.choice(ODD_TOKENS) if odd and random.random() < 0.3 else random.choice(["null", '"QUFQTHxNfDE3MQ=="'])
    )
    tail = random.choice(ODD_TAILS) if odd and random.random() < 0.3 else random.choice(["", "\n"])
    close = ("}", tail) if not tail.startswith(",") else (tail, "}")
    return f'{{"bars":{{{",".join(groups)}}},"next_page_token":{token}{close[0]}{close[1]}'


def _bars(random: Random, odd: bool) -> Iterator[str]:
    for _ in range(random.randint(0 if odd else 1, 4)):
        moment = f'"{random.randint(1970, 2030)}-{random.randint(1, 12):02d}-{random.randint(1, 28):02d}T'
        moment += f'{random.randint(0, 23):02d}:{random.randint(0, 59):02d}:{random.choice([0, 0, 59]):02d}Z"'
        fields = {name: _price(random) for name in ("c", "h", "l", "o", "vw")}
        fields |= {
            "n": str(random.randint(0, 10**6)),
            "t": moment,
            "v": str(random.randint(0, 10 ** random.randint(1, 12))),
        }
        pairs = [(name, fields[name]) for name in ("c", "h", "l", "n", "o", "t", "v", "vw")]
        if odd and random.random() < 0.5:
            pairs = _odd(random, pairs)
        yield "{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}"


def _price(random: Random) -> str:
    kind = random.random()
    if kind < 0.01:
        return json.dumps(random.random() * 10 ** random.randint(-3, 6))
    whole = random.randint(0, 10**9) if kind < 0.02 else random.choice([0, random.randint(1, 10**6)])
    decimals = random.randint(0, 9)
    return f"{whole}.{random.randint(0, 10**decimals - 1):0{decimals}d}" if decimals else str(whole)


def _odd(random: Random, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    place, kind = random.randrange(len(pairs)), random.randrange(6)
    if kind == 0:
        return pairs[:place] + pairs[place + 1 :]
    if kind == 1:
        return [*pairs, pairs[place]]
    if kind == 2:
        return [*pairs[:place], ("x", random.choice(ODD_VALUES)), *pairs[place:]]
    if kind == 3:
        return random.sample(pairs, len(pairs))
    return [*pairs[:place], (pairs[place][0], random.choice(ODD_VALUES)), *pairs[place + 1 :]]


def _damaged(random: Random, body: bytes) -> bytes:
    page = bytearray(body)
    for _ in range(random.randint(1, 2)):
        at, kind = random.randrange(len(page) or 1), random.randrange(4)
        if kind == 0:
            page[at : at + 1] = bytes([random.choice(LETTERS)])
        elif kind == 1:
            page[at:at] = bytes([random.choice(LETTERS)])
        elif kind == 2:
            del page[at : at + random.randint(1, 9)]
        else:
            del page[random.choice([at, len(page) - 1]) :]
    return bytes(page)


if __name__ == "__main__":
    main()
