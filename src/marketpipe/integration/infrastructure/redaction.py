"""Redaction: no secret that was sent to a server may come back in a response, an error or a log record.

Servers repeat the headers they got, in error pages above all, and HTTP libraries put headers and URLs into their errors
and logs. Users put those into bug reports.
"""

from __future__ import annotations

import logging
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Final

from marketpipe.shared_kernel.domain.secret_text import visible

SHORTEST: Final = 6
"""Characters. A shorter secret is not redacted: it occurs in correct responses too, which would be damaged."""
LARGEST_IN_BASE64: Final = 65_536
"""Bytes. In longer responses, which are pages of bars, Base64 is not searched: it would cost time on every page."""
ESCAPES: Final = (b"\\", b"%", b"&")
"""What an escaped character begins with in JSON, URLs and HTML."""
HTML_NAMES: Final = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}
REDACTED: Final = b"***"
RARE: Final = 16
"""Occurrences of a letter up to which each is examined for the secret around it."""
LOGGERS: Final = tuple(
    map(logging.getLogger, ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy"))))
)
"""They log URLs, reason phrases and the headers of responses."""


class Redactor(logging.Filter):
    """Replaces secrets by ``***`` wherever they occur: plain, in Base64, or escaped as in JSON, URLs and HTML.

    As a log filter it redacts the records of ``LOGGERS``, and makes control characters in them visible.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        long = [secret for secret in secrets if len(secret) >= SHORTEST]
        self._plain = [secret.encode() for secret in long]
        self._escaped = [re.compile("".join(map(_escaped, secret)).encode()) for secret in long]
        self._in_base64 = [form for secret in self._plain for form in _in_base64(secret)]

    def redact(self, text: bytes) -> bytes:
        for secret in self._plain:
            if _occurs(secret, text):
                text = text.replace(secret, REDACTED)
        # The patterns are slow. A page of bars has none of these characters, so it is not searched with them.
        if any(escape in text for escape in ESCAPES):
            for pattern in self._escaped:
                text = pattern.sub(REDACTED, text)
        if len(text) <= LARGEST_IN_BASE64:
            for form in self._in_base64:
                text = text.replace(form, REDACTED)
        return text

    def redact_text(self, text: str) -> str:
        return self.redact(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def redact_error(self, error: BaseException) -> None:
        """Redact the messages of an error and of all errors that led to it, and drop their tracebacks.

        The frames of a traceback hold the headers that were sent and received; error trackers collect them.
        """
        for link in _chain(error):
            link.args = tuple(map(self._redact_argument, link.args))
            link.__traceback__ = None

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        redacted = visible(self.redact_text(text))
        if redacted != text:
            record.msg, record.args = redacted, None
        return True

    def watch_logs(self) -> None:
        """Redact what the HTTP libraries log from now on."""
        for logger in LOGGERS if self._plain else ():
            logger.addFilter(self)

    def unwatch_logs(self) -> None:
        for logger in LOGGERS:
            logger.removeFilter(self)

    def _redact_argument(self, argument: object) -> object:
        if isinstance(argument, str):
            return self.redact_text(argument)
        return self.redact(bytes(argument)) if isinstance(argument, bytes | bytearray) else argument


def _occurs(secret: bytes, text: bytes) -> bool:
    """Return whether the text contains the secret.

    A page of bars has few different letters, so most secrets have one that is rare in it. To find one letter takes a
    tenth of the time of finding many.
    """
    for place, letter in enumerate(secret):
        at, left = text.find(letter), RARE
        while at >= 0 and left:
            if at >= place and text.startswith(secret, at - place):
                return True
            at, left = text.find(letter, at + 1), left - 1
        if at < 0:
            return False
    return secret in text


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, its causes and its contexts; an error that occurs twice is yielded once."""
    seen, left = set[int](), [error]
    while left:
        link = left.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            left += [link.__cause__, link.__context__]
            yield link


def _escaped(character: str) -> str:
    """Return a pattern of every way to write the character in JSON, a URL or HTML."""
    code = ord(character)
    html = rf"&\#(?:0*{code}|[xX]0*(?i:{code:x}));"
    named = f"&{HTML_NAMES[character]};" if character in HTML_NAMES else re.escape(character)
    return rf"(?:\\*{re.escape(character)}|\\+u00(?i:{code:02x})|%(?i:{code:02x})|{html}|{named})"


def _in_base64(secret: bytes) -> set[bytes]:
    """Return how Base64 writes the secret if it begins 0, 1 or 2 bytes into a group of three.

    Only those letters that depend on no neighbour of the secret; with the alphabet of URLs too.
    """
    forms = set[bytes]()
    for offset in range(3):
        encoded = b64encode(b"\0" * offset + secret)
        form = encoded[-(-offset * 8 // 6) : (offset + len(secret)) * 8 // 6]
        forms |= {form, form.replace(b"+", b"-").replace(b"/", b"_")}
    return forms
