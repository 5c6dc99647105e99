from __future__ import annotations

import logging
import re
from abc import abstractmethod
from base64 import b64encode
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Final

import httpx
from attrs import Attribute, field, frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.secret_text import SecretText

SHORTEST: Final = 6  # a shorter one would strike letters out of honest answers
LARGEST_QUOTED: Final = 65_536
"""Bytes; longer answers are pages of bars, in which nobody looks for a secret in Base64."""
ESCAPES: Final = (b"\\", b"%", b"&")
STRUCK: Final = b"***"
LOGGERS: Final = tuple(
    map(logging.getLogger, ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy"))))
)


class KnownSecrets(logging.Filter):
    """Strikes secrets out of whatever a server says, in which it may repeat the headers that it was sent.

    As they are, and as JSON, URLs, HTML and Base64 write them. As a filter it strikes them out of log records.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        long = [secret for secret in secrets if len(secret) >= SHORTEST]
        self._plain = [secret.encode() for secret in long]
        self._escaped = [re.compile("".join(map(_escaped, secret)).encode()) for secret in long]
        self._packed = [form for secret in self._plain for form in _in_base64(secret)]

    def struck(self, said: bytes) -> bytes:
        for secret in self._plain:
            said = said.replace(secret, STRUCK)
        if any(escape in said for escape in ESCAPES):
            for pattern in self._escaped:
                said = pattern.sub(STRUCK, said)
        if len(said) <= LARGEST_QUOTED:
            for form in self._packed:
                said = said.replace(form, STRUCK)
        return said

    def struck_text(self, said: str) -> str:
        return self.struck(said.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def strike_from(self, error: BaseException) -> None:
        """Out of an error and all it came from; their frames go, for they hold the headers that were sent and came."""
        for link in _chain(error):
            link.args = tuple(self._struck_argument(argument) for argument in link.args)
            link.__traceback__ = None

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        struck = self.struck_text(said)
        if struck != said:
            record.msg, record.args = struck, None
        return True

    def watch(self) -> None:
        """What httpx and httpcore log: URLs, reason phrases, the headers of answers."""
        for logger in LOGGERS if self._plain else ():
            logger.addFilter(self)

    def unwatch(self) -> None:
        for logger in LOGGERS:
            logger.removeFilter(self)

    def _struck_argument(self, argument: object) -> object:
        if isinstance(argument, str):
            return self.struck_text(argument)
        return self.struck(bytes(argument)) if isinstance(argument, bytes | bytearray) else argument


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen, left = set[int](), [error]
    while left:
        link = left.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            left += [link.__cause__, link.__context__]
            yield link


def _escaped(letter: str) -> str:
    """A pattern of every way to write it."""
    code = ord(letter)
    html = rf"&\#(?:0*{code}|[xX]0*(?i:{code:x}));"
    return rf"(?:\\*{re.escape(letter)}|\\+u00(?i:{code:02x})|%(?i:{code:02x})|{html}|{_named(letter)})"


def _named(letter: str) -> str:
    names = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}
    return f"&{names[letter]};" if letter in names else re.escape(letter)


def _in_base64(secret: bytes) -> set[bytes]:
    """Wherever it begins in what was encoded: the letters that its neighbours have no part in."""
    forms = set[bytes]()
    for offset in range(3):
        whole = b64encode(b"\0" * offset + secret)
        form = whole[-(-offset * 8 // 6) : (offset + len(secret)) * 8 // 6]
        forms |= {form, form.replace(b"+", b"-").replace(b"/", b"_")}
    return forms


class AuthStrategy(httpx.Auth):
    """How a request proves who sends it. No secret may show in a repr or an error."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown, even where a server repeats it in an error."""
        return ()

    @abstractmethod
    def sign(self, request: httpx.Request) -> None: ...

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        self.sign(request)
        yield request


def _hidden(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name: SecretText(value) for name, value in headers.items()}


@frozen
class HeaderTokenAuth(AuthStrategy):
    """Header names and their secret values. Raises ``ConfigurationError`` for values that no header can carry."""

    headers: Mapping[str, str] = field(converter=_hidden, repr=lambda headers: f"<{', '.join(headers)}>")

    @headers.validator
    def _sendable(self, _: Attribute[Mapping[str, str]], headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            if not value or value != value.strip() or not value.isascii() or not value.isprintable():
                raise ConfigurationError(
                    f"the secret for the header {name} is empty, or has spaces at an end or characters other than ASCII"
                )

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(self.headers.values())

    def sign(self, request: httpx.Request) -> None:
        request.headers.update(self.headers)
