"""Traces of a key and a secret that must not be found: every form from which they could be read."""

from __future__ import annotations

import io
import json
import traceback
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from functools import cache
from html import escape
from pathlib import Path
from types import TracebackType
from urllib.parse import quote, quote_plus

from rich.console import Console
from rich.traceback import Traceback

TESTS = Path(__file__).parents[1]


@cache
def traces(*secrets: str) -> frozenset[str]:
    """Return the forms in lower case. Halves of a secret are longer than eight characters."""
    return frozenset(form.lower() for secret in secrets for form in _forms(secret))


def _forms(secret: str) -> Iterator[str]:
    middle = len(secret) // 2
    for part in (secret, secret[:middle], secret[middle:]):
        yield from (part, part[::-1], quote(part, safe=""), quote_plus(part), escape(part), json.dumps(part)[1:-1])
        yield part.replace("/", "\\/")
    for pack in (b64encode, urlsafe_b64encode):
        yield pack(secret.encode()).decode().rstrip("=")[:-1]
    yield "".join(f"\\u{ord(letter):04x}" for letter in secret)


def found_in(text: str, *secrets: str) -> list[str]:
    small = text.lower()
    return sorted(form for form in traces(*secrets) if form in small)


def everything_in(folder: Path) -> str:
    """Return names and contents of all files."""
    return "\n".join(f"{p} {p.read_bytes().decode('latin-1')}" for p in sorted(folder.rglob("*")) if p.is_file())


def dump_of(error: BaseException) -> str:
    """Return what a crash reporter would send: every frame of every error in the chain, with its local variables.

    Those of the test itself are left out: it knows the secrets.
    """
    error = error.with_traceback(_below_the_test(error.__traceback__))
    plain = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    return "\n".join([plain, *(f"{link!r} {link.args!r} {vars(link)!r}" for link in _chain(error))])


def pretty_dump_of(error: BaseException) -> str:
    """Return the same as rich prints it, which is slow."""
    screen, frames = io.StringIO(), _below_the_test(error.__traceback__)
    pretty = Traceback.from_exception(type(error), error, frames, show_locals=True, locals_max_string=None)
    Console(file=screen, width=2000).print(pretty)
    return screen.getvalue()


def _below_the_test(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and TESTS in Path(frames.tb_frame.f_code.co_filename).parents:
        frames = frames.tb_next
    return frames


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
