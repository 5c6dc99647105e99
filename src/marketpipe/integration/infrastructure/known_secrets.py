from __future__ import annotations

import logging
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Final

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
