"""Recordings of exchanges with a real provider: made once with keys, replayed in tests without keys or a network.

A recording is a text file: a first line about the file, then one line of JSON for each exchange. It has no request
headers, where credentials usually are, and not the parameters that the recorder was told to leave out.
"""

from __future__ import annotations

import base64
import json
import threading
import urllib.error
import urllib.request
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping
from email.message import Message
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.testing.loopback import Answer, LoopbackRequest, RecordedExchange, Response

FORMAT: Final = 1
SECONDS: Final = 60.0
NOT_FORWARDED: Final = frozenset({"host", "connection", "accept-encoding"})
NOT_KEPT: Final = frozenset(
    {"connection", "content-length", "content-encoding", "date", "keep-alive", "set-cookie", "transfer-encoding"}
)
"""Headers of one connection or one moment: the loopback server sends its own."""
_Key = tuple[str, tuple[tuple[str, str], ...]]


def save_recording(path: Path, exchanges: Iterable[RecordedExchange], *, without: Collection[str] = ()) -> None:
    """Write exchanges to a file. ``without`` names parameters of the query to leave out, such as ``apikey``.

    Look through the file before you publish it: responses are kept as they came.
    """
    header = {"marketpipe_recording": FORMAT, "without": sorted(without)}
    lines = [header, *(_as_json(exchange, without) for exchange in exchanges)]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")


def replayed(path: Path) -> Answer:
    """Return the answers of a recording, for ``LoopbackServer``.

    A request gets the response that an equal one got: same path, same query but for parameters that were left out. If
    it was recorded several times, the responses come in turn and the last one stays. A request that was not recorded
    gets a 404 that names it. Raises ``ValidationError`` for a file that is no recording.
    """
    without, recorded = _read(path)
    lock = threading.Lock()

    def answer(request: LoopbackRequest) -> Response:
        key = _key(request.path, request.query, without)
        with lock:
            if not (left := recorded.get(key)):
                asked = f"{request.path}?{urlencode(key[1])}"
                return Response(404, {"message": f"{path.name} has no response to {asked}: record it again"})
            return left.popleft() if len(left) > 1 else left[0]

    return answer


def forwarded_to(base_url: str) -> Answer:
    """Return answers that a real server gives, for a ``LoopbackServer`` whose ``exchanges`` are then saved.

    The request's headers are sent on, with its credentials; redirects are not followed. Raises ``OSError`` if there is
    no connection.
    """
    opener = urllib.request.build_opener(_NoRedirect)

    def answer(request: LoopbackRequest) -> Response:
        url = f"{base_url.rstrip('/')}{request.path}?{urlencode(request.query)}"
        headers = {name: value for name, value in request.headers.items() if name not in NOT_FORWARDED}
        try:
            with opener.open(urllib.request.Request(url, headers=headers), timeout=SECONDS) as reply:
                return _response(reply.status, reply.headers, reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return _response(error.code, error.headers, error.read())

    return answer


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would send the credentials to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _response(status: int, headers: Message, body: bytes) -> Response:
    kept = {name: value for name, value in headers.items() if name.lower() not in NOT_KEPT}
    return Response(status, body, kept)


def _key(path: str, query: Mapping[str, str], without: Collection[str]) -> _Key:
    return path, tuple(sorted((name, value) for name, value in query.items() if name not in without))


def _as_json(exchange: RecordedExchange, without: Collection[str]) -> dict[str, Any]:
    request, response = exchange.request, exchange.response
    path, query = _key(request.path, request.query, without)
    line = {"path": path, "query": dict(query), "status": response.status, "headers": dict(response.headers)}
    try:
        return {**line, "body": response.body.decode()}
    except UnicodeDecodeError:
        return {**line, "base64": base64.b64encode(response.body).decode()}


def _read(path: Path) -> tuple[Collection[str], dict[_Key, deque[Response]]]:
    recorded = defaultdict[_Key, deque[Response]](deque)
    try:
        header, *lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        if header["marketpipe_recording"] != FORMAT:
            raise ValueError(f"format {header['marketpipe_recording']!r} is not {FORMAT}")
        for line in lines:
            body = line["body"].encode() if "body" in line else base64.b64decode(line["base64"])
            key = _key(line["path"], line["query"], header["without"])
            recorded[key].append(Response(line["status"], body, line["headers"]))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValidationError(f"{path} is not a recording of exchanges: {error}") from error
    return header["without"], dict(recorded)
