"""Responses of failing servers that repeat the key and the secret of the request."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from typing import Any, Final
from urllib.parse import quote

from tests.support.alpaca_loopback import record
from tests.support.clients import KEY, SECRET
from tests.support.wire_server import Wire, http

PAIR: Final = f"{KEY} {SECRET}"
FORMS: Final[Mapping[str, str]] = {
    "plain": PAIR,
    "url": f"{quote(KEY)} {quote(SECRET, safe='')}",
    "html": f"{KEY} {escape(SECRET)} {''.join(f'&#{ord(c)};' for c in SECRET)}",
    "html in hexadecimal": "".join(f"&#x{ord(c):X};" for c in f"{KEY} {SECRET}"),
    "base64": f"{b64encode(KEY.encode()).decode()} Basic {b64encode(f'{KEY}:{SECRET}'.encode()).decode()}",
}
LONG: Final = "x" * 70_000


def _json(value: object, status: str = "200 OK", *headers: str) -> Wire:
    return http(json.dumps(value).encode(), status, "Content-Type: application/json", *headers)


def _page(bars: Mapping[str, Any], token: str | None = None, **more: Any) -> Wire:
    return _json({"bars": bars, "next_page_token": token, **more})


def _slashed(message: str) -> bytes:
    return json.dumps({"message": message}).replace("/", "\\/").encode()


def _spelled(message: str) -> bytes:
    return b'{"message": "%s"}' % "".join(f"\\u{ord(c):04X}" for c in message).encode()


BAR: Final = record("2024-03-11T13:30:00Z")
STATUSES: Final = ("400 Bad", "401 No", "403 No", "404 No", "422 No", "429 Slow", "500 Oh", "503 Oh")
ANSWERS: Final[Mapping[str, tuple[Wire, ...]]] = {
    **{f"{status[:3]} repeats it": (_json({"message": PAIR}, status),) for status in STATUSES},
    **{f"401 repeats it as {name}": (_json({"message": message}, "401 No"),) for name, message in FORMS.items()},
    **{f"401 in {name}": (http(message.encode(), "401 No"),) for name, message in FORMS.items()},
    "401 with slashes escaped": (http(_slashed(PAIR), "401 No"),),
    "401 with all letters escaped": (http(_spelled(PAIR), "401 No"),),
    "401 in a page of HTML": (http(f"<html><b>{PAIR}</b>{LONG}".encode(), "401 No"),),
    "401 in a long JSON": (_json({"message": PAIR, "more": LONG}, "401 No"),),
    "401 cut short": (Wire(b"HTTP/1.1 401 No\r\nContent-Length: 999\r\n\r\n" + PAIR.encode()),),
    "a reason phrase": (http(b"{}", f"401 {PAIR}"),),
    "a header": (http(b"{}", "401 No", f"X-Echo: {PAIR}", f"Retry-After: {SECRET}", f"Set-Cookie: k={SECRET}"),),
    "a header of a good answer": (_json({"bars": {"AAPL": [BAR]}}, "200 OK", f"X-Echo: {PAIR}"),),
    "a name of a header": (http(b"{}", "500 Oh", f"{KEY}: 1"),),
    "an encoding": (http(b"{}", "200 OK", f"Content-Encoding: {SECRET}"),),
    "a line that is no header": (http(b"{}", "200 OK", SECRET),),
    "a line that is no status": (Wire(f"{PAIR}\r\n\r\n".encode()),),
    "a length that is none": (Wire(f"HTTP/1.1 200 OK\r\nContent-Length: {SECRET}\r\n\r\n".encode()),),
    "a chunk that is none": (Wire(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}\r\n".encode()),),
    "a redirect": (http(b"", "302 Found", f"Location: https://evil.test/{KEY}/{SECRET}"),),
    "a redirect to no port": (http(b"", "302 Found", f"Location: https://evil.test:{KEY}/"),),
    "a redirect to no host": (http(b"", "302 Found", f"Location: https://[{SECRET}]/"),),
    "a packed body that is not": (http(PAIR.encode(), "200 OK", "Content-Encoding: gzip"),),
    "garbage": (http(b"\x00\xff" + PAIR.encode()),),
    "a drop": (Wire(PAIR.encode()),),
    "a message instead of bars": (_json({"message": PAIR}),),
    "a key instead of bars": (_json({PAIR: 1}),),
    "a page token": (_page({"AAPL": [BAR]}, SECRET),),
    "a page token that is escaped": (
        http(b'{"bars":{},"next_page_token":"%s"}' % SECRET.replace("/", "\\/").encode()),
    ),
    "a page token of a long page": (_page({"AAPL": [BAR] * 900}, SECRET),),
    "page tokens in a circle": (_page({}, KEY), _page({}, SECRET)) * 20,
    "a symbol": (_page({PAIR: [BAR], "AAPL": [BAR]}),),
    "a refused symbol": (_json({"message": f"invalid symbol: {SECRET}"}, "400 Bad"),),
    "a time": (_page({"AAPL": [{**BAR, "t": SECRET}]}),),
    "a bar": (_page({"AAPL": [BAR, {**BAR, "o": SECRET, "note": PAIR}]}),),
}

DIFFERENTLY_WRITTEN: Final = frozenset(
    {name for name in ANSWERS if name.startswith(("401 repeats it as", "401 in ", "401 with"))}
    | {f"{status[:3]} repeats it" for status in STATUSES if status[:3] not in ("401", "429", "503")}
)
"""These fail like the others; only their text is encoded differently."""
