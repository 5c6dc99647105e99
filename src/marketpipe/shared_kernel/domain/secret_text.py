"""Text that must not be shown as it is: secrets, text of others that could deceive a reader or a terminal, and paths
that stand for URLs.
"""

from __future__ import annotations

import re
from typing import Any, Final, NoReturn

INVISIBLE: Final = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but tab and line feed: terminals obey them
    "\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # marks that reorder or hide text
    "\ud800-\udfff"  # halves of characters, which no encoding can write
    "\U000e0000-\U000e0fff"  # tags and variation selectors: text that no screen shows
    "]"
)

FOR_A_URL: Final = re.compile(r"(?<![\w./~-])/(s3|postgresql):/")
"""Where a path begins that is meant for no disk, as ``config/places.py`` makes them."""


def visible(text: str) -> str:
    """Return the text with control characters and invisible marks written as escapes, such as ``\\x1b``.

    Wherever text that came from outside is printed, logged or stored, it goes through this function: a server's message
    could otherwise change the title, the colours or the contents of a terminal, or show text in another order. Line
    feeds and tabs stay. A path that stands for a URL is written as the URL. All other text is returned as it is.
    """
    shown = with_urls(text)
    return shown if shown.isprintable() else INVISIBLE.sub(_escape, shown)


def with_urls(text: str) -> str:
    """Return the text with every path that stands for a URL, such as ``/s3:/bucket/prefix``, written as that URL."""
    return FOR_A_URL.sub(r"\1://", text) if ":/" in text else text


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


class SecretText(str):
    """Text that no dump shows: its repr is ``'***'``, also inside other objects, and it cannot be pickled.

    It stays a ``str``, so that libraries take it; ``str()`` and string operations do show it.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __copy__(self) -> SecretText:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> SecretText:
        return self

    def __reduce_ex__(self, _: object) -> NoReturn:
        raise TypeError("a secret cannot be pickled: pickling would write it to a file or a pipe")
