from __future__ import annotations

import asyncio
import ssl
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

from marketpipe.integration.infrastructure.auth import AuthStrategy, KnownSecrets
from marketpipe.shared_kernel.domain.errors import (
    MalformedResponseError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    TerminalProviderError,
)

TIMEOUT = httpx.Timeout(connect=10.0, read=30.0, write=10.0, pool=60.0)
LIMITS = httpx.Limits(max_connections=64, max_keepalive_connections=64)
LARGEST_BODY = 16 * 1024 * 1024  # a page of 10,000 bars has one or two megabytes
LONGEST_BODY_SECONDS = 90.0
MOST_MEMBERS = 64  # of a gzip stream: each costs a copy of all that follow it
GZIP = 16 + isal_zlib.MAX_WBITS


@frozen
class HttpReply:
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class HttpExchange:
    """GET over one pooled connection set for a provider's lifetime, sync and async.

    Redirects are not followed, so that credentials never travel to another host. Bodies over ``largest_body`` bytes,
    packed or unpacked, are refused before they fill the memory, and so are those that take longer than
    ``longest_body_seconds``. Transports may be given, as tests do.
    """

    def __init__(
        self,
        base_url: str,
        auth: httpx.Auth,
        *,
        timeout: httpx.Timeout = TIMEOUT,
        largest_body: int = LARGEST_BODY,
        longest_body_seconds: float = LONGEST_BODY_SECONDS,
        transport: httpx.BaseTransport | None = None,
        async_transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._largest, self._longest = largest_body, longest_body_seconds
        self._secrets = KnownSecrets(auth.secrets if isinstance(auth, AuthStrategy) else ())
        self._secrets.watch()
        settings: dict[str, Any] = {
            "base_url": base_url,
            "auth": auth,
            "headers": {"Accept": "application/json", "Accept-Encoding": "gzip"},
            "timeout": timeout,
            "limits": LIMITS,
            "verify": _trusted_authorities(),
            "trust_env": not _is_loopback(base_url),  # or a proxy of the environment would be shown the keys
        }
        self._client = httpx.Client(**settings, transport=transport)
        self._new_async_client = partial(httpx.AsyncClient, **settings, transport=async_transport)
        self._async: tuple[asyncio.AbstractEventLoop, httpx.AsyncClient] | None = None

    def get(self, path: str, params: Mapping[str, str]) -> HttpReply:
        with self._translated(), self._client.stream("GET", path, params=dict(params)) as response:
            packed = _Bounded(self._largest, self._longest)
            packed.take(cast(httpx.SyncByteStream, response.stream))
            return self._reply(response, packed)

    async def get_async(self, path: str, params: Mapping[str, str]) -> HttpReply:
        with self._translated():
            async with self._client_of_this_loop().stream("GET", path, params=dict(params)) as response:
                packed = _Bounded(self._largest, self._longest)
                await packed.take_async(cast(httpx.AsyncByteStream, response.stream))
                return self._reply(response, packed)

    def close(self) -> None:
        self._client.close()
        self._secrets.unwatch()

    async def aclose(self) -> None:
        await self._client_of_this_loop().aclose()
        self._secrets.unwatch()

    def _client_of_this_loop(self) -> httpx.AsyncClient:
        """Pooled connections die with their event loop, as when ``asyncio.run`` is called a second time."""
        loop, pooled = asyncio.get_running_loop(), self._async
        if pooled is None or pooled[0] is not loop:
            self._async = pooled = loop, self._new_async_client()
        return pooled[1]

    def _reply(self, response: httpx.Response, packed: _Bounded) -> HttpReply:
        headers = httpx.Headers([(name, self._secrets.struck_text(value)) for name, value in response.headers.items()])
        body = _unpacked(headers.get("content-encoding", "identity").lower(), packed.joined(), self._largest)
        return HttpReply(response.status_code, headers, self._secrets.struck(body))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ProviderError as error:
            self._secrets.strike_from(error)
            raise copy(error) from error.__cause__  # raised again as it is, it would have its frames back
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            self._secrets.strike_from(error)
            # the text of one may be a header that cannot be sent, and too short a secret to be struck out
            raise _meaning(error) from (None if isinstance(error, httpx.LocalProtocolError) else error)


class _Bounded:
    """Collects a body that may be neither too large nor too slow: time-outs between bytes do not bound a trickle."""

    def __init__(self, largest: int, seconds: float) -> None:
        self._left, self._largest, self._chunks = largest, largest, list[bytes]()
        self._seconds, self._deadline = seconds, time.monotonic() + seconds

    def take(self, stream: httpx.SyncByteStream) -> None:
        for chunk in stream:
            self._add(chunk)

    async def take_async(self, stream: httpx.AsyncByteStream) -> None:
        async for chunk in stream:
            self._add(chunk)

    def _add(self, chunk: bytes) -> None:
        if time.monotonic() > self._deadline:
            raise ProviderTimeoutError(f"the response was not complete after {self._seconds:.0f} s")
        self._left -= len(chunk)
        if self._left < 0:
            raise MalformedResponseError(f"the response is larger than {self._largest:,} bytes")
        self._chunks.append(chunk)

    def joined(self) -> bytes:
        return b"".join(self._chunks)


def _unpacked(encoding: str, packed: bytes, largest: int) -> bytes:
    if encoding == "identity" or not packed:
        return packed
    if encoding != "gzip":
        raise MalformedResponseError(f"the response has an encoding nobody asked for: {encoding[:20]!r}")
    body, rest = b"", packed
    for _ in range(MOST_MEMBERS):
        member, following = _member(rest, largest - len(body))
        body += member
        if following is None or len(body) > largest:
            raise MalformedResponseError(f"the response unpacks to more than {largest:,} bytes")
        if not following:
            return body
        rest = following
    raise MalformedResponseError(f"the response is a gzip stream of more than {MOST_MEMBERS} members")


def _member(packed: bytes, largest: int) -> tuple[bytes, bytes | None]:
    """The first gzip member unpacked, and what follows it; None where ``largest`` bytes were not enough."""
    inflater = isal_zlib.decompressobj(GZIP)
    try:
        body = inflater.decompress(packed, max(1, largest))
    except isal_zlib.IsalError as error:  # type: ignore[misc]  # its stubs take the class for an instance
        raise MalformedResponseError("the response is not the gzip stream it claims to be") from error
    if inflater.unconsumed_tail:
        return body, None
    if not inflater.eof:
        raise MalformedResponseError("the response ends in the middle of its gzip stream")
    return body, inflater.unused_data


def _meaning(error: Exception) -> ProviderError:
    if isinstance(error, httpx.TimeoutException):
        return ProviderTimeoutError(f"no answer in time ({type(error).__name__})")
    if isinstance(error, httpx.LocalProtocolError):
        return ProviderUnavailableError("the request cannot be sent: something in it is not valid HTTP")
    if isinstance(error, httpx.TransportError):
        return ProviderUnavailableError(f"the connection broke ({type(error).__name__}: {error})")
    if isinstance(error, httpx.HTTPError):
        return ProviderUnavailableError(f"the exchange failed ({type(error).__name__})")
    return TerminalProviderError(f"a URL that cannot be asked for ({type(error).__name__})")


@cache
def _trusted_authorities() -> ssl.SSLContext:
    """Hundreds of certificates: read once, for all clients."""
    return httpx.create_ssl_context()


def _is_loopback(url: str) -> bool:
    try:
        host = httpx.URL(url).host
        return host == "localhost" or ip_address(host).is_loopback
    except (httpx.InvalidURL, ValueError):
        return False
