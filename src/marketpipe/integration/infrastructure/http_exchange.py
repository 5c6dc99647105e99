"""One HTTP GET, made safe: bounded in size and time, without redirects, without secrets, with our own errors only."""

from __future__ import annotations

import asyncio
import math
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from functools import cache, partial
from ipaddress import ip_address
from typing import Any, cast

import httpx
from attrs import field, frozen
from isal import isal_zlib

from marketpipe.integration.infrastructure.auth import AuthStrategy
from marketpipe.integration.infrastructure.redaction import Redactor
from marketpipe.shared_kernel.domain.errors import (
    ConnectionFailedError,
    MalformedResponseError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    TerminalProviderError,
)

TIMEOUT = httpx.Timeout(connect=10.0, read=30.0, write=10.0, pool=60.0)
LIMITS = httpx.Limits(max_connections=64, max_keepalive_connections=64)
LARGEST_BODY = 16 * 1024 * 1024
"""Bytes. A page of 10,000 bars has one or two megabytes."""
LONGEST_SECONDS = 90.0
"""Of one exchange: from waiting for a connection to the last byte of the body."""
IDENTITY, GZIPPED = ("", "identity"), ("gzip", "x-gzip")
"""Values of Content-Encoding. RFC 9110, section 8.4.1.3: x-gzip is to be taken for gzip."""
MOST_MEMBERS = 64
"""Members of a gzip stream. Each costs a copy of all that follow it, so many small ones would cost quadratic time."""
NOTHING = httpx.ByteStream(b"")
"""Takes the place of a stream that was read. httpx has it refer to its response: the 8 kB of both would stay in memory
until Python searches for cycles, which a command seldom does."""
GZIP = 16 + isal_zlib.MAX_WBITS


@frozen
class HttpReply:
    """``headers`` is looked up without regard to case; ``body`` is unpacked. Secrets in both are redacted."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class HttpExchange:
    """Sends GET requests over one pool of connections, sync and async. Threads share it.

    Redirects are not followed, because the credentials in the headers would travel to another host. A body of more
    than ``largest_body`` bytes, packed or unpacked, raises ``MalformedResponseError`` before it fills the memory. An
    exchange that takes longer than ``longest_body_seconds`` raises ``ProviderTimeoutError``: connecting, headers and
    body together. ``transport`` and ``async_transport`` replace the network in tests.
    """

    def __init__(
        self,
        base_url: str,
        auth: httpx.Auth,
        *,
        timeout: httpx.Timeout = TIMEOUT,
        largest_body: int = LARGEST_BODY,
        longest_body_seconds: float = LONGEST_SECONDS,
        transport: httpx.BaseTransport | None = None,
        async_transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._largest, self._longest = largest_body, longest_body_seconds
        self._redactor = Redactor(auth.secrets if isinstance(auth, AuthStrategy) else ())
        self._redactor.watch_logs()
        settings: dict[str, Any] = {
            "base_url": base_url,
            "auth": auth,
            # gzip alone: its size can be bounded while it is unpacked, see _unpacked
            "headers": {"Accept": "application/json", "Accept-Encoding": "gzip"},
            "timeout": timeout,
            "limits": LIMITS,
            "verify": _no_authority() if _is_plain_loopback(base_url) else _trusted_authorities(),
            # a proxy from the environment would see the keys that are meant for a server on this machine
            "trust_env": not _is_loopback(base_url),
        }
        self._client, self._deadline = httpx.Client(**settings, transport=transport), _ThreadDeadline()
        _bound_in_time(self._client, self._deadline)
        self._new_async_client = partial(httpx.AsyncClient, **settings, transport=async_transport)
        self._async: tuple[asyncio.AbstractEventLoop, httpx.AsyncClient] | None = None
        self._reached = False

    def get(self, path: str, params: Mapping[str, str]) -> HttpReply:
        """Return the response, whatever its status. Raises ``ProviderError`` if there is none that can be used."""
        with self._translated(), self._deadline.within(self._longest):
            packed = _BoundedBody(self._largest, self._longest)
            with self._client.stream("GET", path, params=dict(params)) as response:
                packed.read(cast(httpx.SyncByteStream, response.stream))
                reply = self._reply(response, packed)
            response.stream = NOTHING
            return reply

    async def get_async(self, path: str, params: Mapping[str, str]) -> HttpReply:
        """Do the same as ``get`` on the running event loop."""
        with self._translated():
            packed = _BoundedBody(self._largest, self._longest)
            try:
                async with (
                    asyncio.timeout(self._longest),
                    self._client_of_this_loop().stream("GET", path, params=dict(params)) as response,
                ):
                    await packed.read_async(cast(httpx.AsyncByteStream, response.stream))
                    reply = self._reply(response, packed)
                response.stream = NOTHING
                return reply
            except TimeoutError as error:
                raise _too_slow(self._longest) from error

    def close(self) -> None:
        self._client.close()
        self._redactor.unwatch_logs()

    async def aclose(self) -> None:
        await self._client_of_this_loop().aclose()
        self._redactor.unwatch_logs()

    def _client_of_this_loop(self) -> httpx.AsyncClient:
        """Return one client per event loop: pooled connections die with their loop.

        A user who calls ``asyncio.run`` twice would otherwise get the dead connections of the first call.
        """
        loop, pooled = asyncio.get_running_loop(), self._async
        if pooled is None or pooled[0] is not loop:
            self._async = pooled = loop, self._new_async_client()
        return pooled[1]

    def _reply(self, response: httpx.Response, packed: _BoundedBody) -> HttpReply:
        self._reached = True
        headers = httpx.Headers([(name, self._redactor.redact_text(text)) for name, text in response.headers.items()])
        body = _unpacked(headers.get("content-encoding", "").strip().lower(), packed.joined(), self._largest)
        return HttpReply(response.status_code, headers, self._redactor.redact(body))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn every error of the HTTP library into a ``ProviderError``, and redact all of them."""
        try:
            yield
        except ProviderError as error:
            self._redactor.redact_error(error)
            # A copy: raising the error itself again would give it back the frames that redaction took away.
            raise copy(error) from error.__cause__
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            self._redactor.redact_error(error)
            # LocalProtocolError quotes a header that cannot be sent: a secret, perhaps one too short to be redacted.
            raise self._translate(error) from (None if isinstance(error, httpx.LocalProtocolError) else error)

    def _translate(self, error: Exception) -> ProviderError:
        if not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
            return _translate(error)
        url = self._client.base_url
        address = url.host if url.port is None else f"{url.host}:{url.port}"
        # the number of an error of the operating system helps nobody, and the log of the connection has it
        reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or "no answer in time"
        return ConnectionFailedError(
            f"cannot connect to {address} ({reason}): check the network and base_url, then run again", self._reached
        )


class _BoundedBody:
    """Collects a body that may be neither too large nor too slow.

    The read timeout bounds only the time between two chunks, so a server could send one byte a second for ever. The
    ``seconds`` begin when this is made, before the request is sent. The chunks stay in here, out of sight of the
    frames that an error keeps: they are not redacted yet.
    """

    def __init__(self, largest: int, seconds: float) -> None:
        self._left, self._largest, self._chunks = largest, largest, list[bytes]()
        self._seconds, self._deadline = seconds, time.monotonic() + seconds

    def read(self, stream: httpx.SyncByteStream) -> None:
        for chunk in stream:
            self._add(chunk)

    async def read_async(self, stream: httpx.AsyncByteStream) -> None:
        async for chunk in stream:
            self._add(chunk)

    def _add(self, chunk: bytes) -> None:
        if time.monotonic() > self._deadline:
            raise _too_slow(self._seconds)
        self._left -= len(chunk)
        if self._left < 0:
            raise MalformedResponseError(f"the response is larger than {self._largest:,} bytes")
        self._chunks.append(chunk)

    def joined(self) -> bytes:
        return b"".join(self._chunks)


class _ThreadDeadline(threading.local):
    """The moment, in monotonic seconds, at which the exchange of the present thread has to be over."""

    at = math.inf
    seconds = math.inf

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        self.at, self.seconds = time.monotonic() + seconds, seconds
        try:
            yield
        finally:
            self.at = math.inf

    def cut(self, timeout: float | None) -> float | None:
        """Return the timeout of one operation, cut to what is left. Raises ``ProviderTimeoutError`` if nothing is."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise _too_slow(self.seconds)
        return timeout if timeout is not None and timeout <= left else left if left < math.inf else timeout


class _BoundedNetwork:
    """A network backend or stream of httpcore, each operation of which ends with the exchange it belongs to.

    httpx bounds each operation alone, and reads headers until they end: a header line every few seconds, or interim
    responses (103) without an end, would hold a request for ever.
    """

    def __init__(self, inner: Any, deadline: _ThreadDeadline) -> None:
        self._inner, self._deadline = inner, deadline

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *more: Any, **options: Any) -> Any:
        stream = self._inner.connect_tcp(host, port, self._deadline.cut(timeout), *more, **options)
        return _BoundedNetwork(stream, self._deadline)

    def start_tls(self, context: ssl.SSLContext, name: str | None = None, timeout: float | None = None) -> Any:
        return _BoundedNetwork(self._inner.start_tls(context, name, self._deadline.cut(timeout)), self._deadline)

    def read(self, most: int, timeout: float | None = None) -> bytes:
        return cast(bytes, self._inner.read(most, self._deadline.cut(timeout)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.cut(timeout))


def _bound_in_time(client: httpx.Client, deadline: _ThreadDeadline) -> None:
    """Put ``_BoundedNetwork`` under the client's connections. httpx has no public way to give it a network backend."""
    for transport in (client._transport, *client._mounts.values()):
        pool = getattr(transport, "_pool", None)
        if pool is not None:
            pool._network_backend = _BoundedNetwork(pool._network_backend, deadline)


def _too_slow(seconds: float) -> ProviderTimeoutError:
    return ProviderTimeoutError(f"the response was not complete after {seconds:.0f} s")


def _unpacked(encoding: str, packed: bytes, largest: int) -> bytes:
    """Unpack gzip member by member, never to more than ``largest`` bytes.

    httpx unpacks without a bound: a few kilobytes of gzip can become gigabytes ("gzip bomb"). So the body is read
    packed and unpacked here, with ISA-L, which is also faster than zlib.
    """
    if encoding in IDENTITY or not packed:
        return packed
    if encoding not in GZIPPED:
        raise MalformedResponseError(f"the response has an encoding that was not requested: {encoding[:20]!r}")
    body, rest = b"", packed
    for _ in range(MOST_MEMBERS):
        member, following = _first_member(rest, largest - len(body))
        body += member
        if following is None or len(body) > largest:
            raise MalformedResponseError(f"the response unpacks to more than {largest:,} bytes")
        if not following.strip(b"\0"):  # as gzip itself does: zeros that fill a block are no member
            return body
        rest = following
    raise MalformedResponseError(f"the response is a gzip stream of more than {MOST_MEMBERS} members")


def _first_member(packed: bytes, largest: int) -> tuple[bytes, bytes | None]:
    """Return the first gzip member unpacked, and what follows it: None if ``largest`` bytes were not enough."""
    inflater = isal_zlib.decompressobj(GZIP)
    try:
        body = inflater.decompress(packed, max(1, largest))
    except isal_zlib.IsalError as error:  # type: ignore[misc]  # its stubs take the class for an instance
        raise MalformedResponseError("the response is not the gzip stream that its header promises") from error
    if inflater.unconsumed_tail:
        return body, None
    if not inflater.eof:
        raise MalformedResponseError("the response ends in the middle of its gzip stream")
    return body, inflater.unused_data


def _translate(error: Exception) -> ProviderError:
    if isinstance(error, httpx.TimeoutException):
        return ProviderTimeoutError(f"no answer in time ({type(error).__name__})")
    if isinstance(error, httpx.LocalProtocolError):
        return ProviderUnavailableError("the request cannot be sent: something in it is not valid HTTP")
    if isinstance(error, httpx.TransportError):
        return ProviderUnavailableError(f"the connection broke ({type(error).__name__}: {error})")
    if isinstance(error, httpx.HTTPError):
        return ProviderUnavailableError(f"the exchange failed ({type(error).__name__})")
    return TerminalProviderError(f"the URL is not valid ({type(error).__name__}); check base_url and the page cursor")


@cache
def _trusted_authorities() -> ssl.SSLContext:
    """Read the hundreds of certificates once for all clients, because it is slow."""
    return httpx.create_ssl_context()


def _no_authority() -> ssl.SSLContext:
    """Trust no server: without TLS, which a server on this machine need not have, no certificate has to be read."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _is_plain_loopback(url: str) -> bool:
    return url.startswith("http://") and _is_loopback(url)


def _is_loopback(url: str) -> bool:
    try:
        host = httpx.URL(url).host
        return host == "localhost" or ip_address(host).is_loopback
    except (httpx.InvalidURL, ValueError):
        return False
