"""A bucket on this machine that speaks as much of S3 as a store needs, and fails as it is told to."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAOFTHISTEST",
    "AWS_SECRET_ACCESS_KEY": "secret-of-this-test",
    "AWS_REGION": "us-east-1",
}


class LoopbackBucket:
    """``objects`` are those of the bucket "bars". ``requests`` counts them by method.

    ``answers`` are taken from its end, one for each put: "503" and "reset" after the object was stored, "busy" is a 503
    without storing it, and "refused" is an error 403 whose text has the key of the account, as that of Amazon.
    """

    def __init__(self, *, ignores_conditions: bool = False) -> None:
        self.objects, self.requests = dict[str, bytes](), Counter[str]()
        self.answers, self.ignores_conditions, self.lock = list[str](), ignores_conditions, Lock()
        self.url, self.refuses_lists = "", False

    @property
    def environment(self) -> Mapping[str, str]:
        return {**KEYS, "AWS_ENDPOINT_URL": self.url}

    def put(self, key: str, content: bytes, *, is_conditional: bool) -> bool:
        with self.lock:
            if key in self.objects and is_conditional and not self.ignores_conditions:
                return False
            self.objects[key] = content
            return True

    def next_answer(self) -> str:
        with self.lock:
            return self.answers.pop() if self.answers else ""


@contextmanager
def loopback_bucket(*, ignores_conditions: bool = False) -> Iterator[LoopbackBucket]:
    bucket = LoopbackBucket(ignores_conditions=ignores_conditions)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"bucket": bucket}))
    bucket.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: LoopbackBucket
    disable_nagle_algorithm = True

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.bucket.next_answer()
        if answer == "refused":
            return self._error(403, "AccessDenied", f"<AWSAccessKeyId>{KEYS['AWS_ACCESS_KEY_ID']}</AWSAccessKeyId>")
        is_conditional = self.headers.get("If-None-Match") == "*"
        is_stored = answer != "busy" and self.bucket.put(self._key(), content, is_conditional=is_conditional)
        if answer == "reset":
            self.bucket.requests["PUT"] += 1
            self.close_connection = True
            return self.connection.close()
        if answer:
            return self._error(503, "SlowDown")
        if not is_stored:
            return self._error(412, "PreconditionFailed")
        return self._send(200, headers={"ETag": _digest(content)})

    def do_GET(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if "list-type" in asked:
            return self._error(403, "AccessDenied") if self.bucket.refuses_lists else self._list(asked)
        content = self.bucket.objects.get(self._key())
        if content is None:
            return self._error(404, "NoSuchKey")
        headers = {"ETag": _digest(content), "Last-Modified": formatdate(1_700_000_000, usegmt=True)}
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            return self._send(200, content, headers)
        first = int(wanted[1]) if wanted[1] else max(0, len(content) - int(wanted[2]))
        last = min(int(wanted[2]) if wanted[1] and wanted[2] else len(content), len(content) - 1)
        if first > last:
            return self._error(416, "InvalidRange")
        return self._send(
            206, content[first : last + 1], {**headers, "Content-Range": f"bytes {first}-{last}/{len(content)}"}
        )

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        keys = re.findall(r"<Key>([^<]*)</Key>", asked)
        for key in keys:
            self.bucket.objects.pop(key, None)
        deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self._send(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

    def _list(self, asked: dict[str, str]) -> None:
        after, most = asked.get("continuation-token", asked.get("start-after", "")), int(asked.get("max-keys", 1000))
        found = [k for k in sorted(self.bucket.objects) if k.startswith(asked.get("prefix", "")) and k > after]
        parts = [
            f"<Contents><Key>{escape(key)}</Key><LastModified>2023-11-14T22:13:20.000Z</LastModified>"
            f"<ETag>{_digest(self.bucket.objects[key])}</ETag><Size>{len(self.bucket.objects[key])}</Size></Contents>"
            for key in found[:most]
        ]
        if is_cut := len(found) > most:
            parts.append(f"<NextContinuationToken>{escape(found[most - 1])}</NextContinuationToken>")
        text = f"<ListBucketResult><IsTruncated>{str(is_cut).lower()}</IsTruncated>{''.join(parts)}</ListBucketResult>"
        self._send(200, text.encode())

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix("/bars/")

    def _error(self, status: int, code: str, more: str = "") -> None:
        self._send(status, f"<Error><Code>{code}</Code>{more}</Error>".encode())

    def _send(self, status: int, content: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.bucket.requests[self.command] += 1
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        return


def _digest(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
