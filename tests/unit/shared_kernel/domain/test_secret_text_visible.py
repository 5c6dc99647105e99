from __future__ import annotations

import logging
import unicodedata

import pytest

from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateLimitReport
from marketpipe.integration.infrastructure.redaction import Redactor
from marketpipe.integration.infrastructure.retry import classify_status
from marketpipe.shared_kernel.domain.errors import (
    MarketPipeError,
    ProviderError,
    RateLimitedError,
    StorageError,
    SymbolRefusedError,
    ValidationError,
)
from marketpipe.shared_kernel.domain.secret_text import INVISIBLE, visible


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x1b[2J\x1b[31mred", r"\x1b[2J\x1b[31mred"),
        ("a\rb\x08c\x00", r"a\rb\x08c\x00"),
        ("\x9b31m\x85", r"\x9b31m\x85"),
        ("AAPL\u202egpj.exe\u2066x\u2069", r"AAPL\u202egpj.exe\u2066x\u2069"),
        ("A\u200bA\ufeffPL\u00ad", r"A\u200bA\ufeffPL\xad"),
        ("line\u2028next\u2029", r"line\u2028next\u2029"),
        ("\U000e0041\ud800", r"\U000e0041\ud800"),
    ],
)
def test_what_a_terminal_obeys_or_hides_is_written_as_an_escape(raw: str, shown: str) -> None:
    assert visible(raw) == shown


@pytest.mark.parametrize(
    "text",
    ["", "invalid symbol: BRK/B", "naïve café 日本 – „quote“ 🙂", "two\nlines\tand a tab", r"a \x1b that is text"],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_no_control_or_format_character_of_unicode_is_left_but_line_feed_and_tab() -> None:
    hidden = {chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cs", "Zl", "Zp")}
    bidirectional = {c for c in map(chr, range(0x3000)) if unicodedata.bidirectional(c) in BIDIRECTIONAL}
    assert {c for c in hidden | bidirectional if not INVISIBLE.fullmatch(c)} == {"\n", "\t"}


BIDIRECTIONAL = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


@pytest.mark.parametrize(
    "error",
    [
        MarketPipeError("bad \x1b[2J"),
        ProviderError("bad \x1b[2J"),
        RateLimitedError("bad \x1b[2J", 3.0),
        SymbolRefusedError("bad \x1b[2J", "X\x1b"),
        StorageError("bad \x1b[2J"),
        ValidationError("bad \x1b[2J"),
        classify_status("acme", 400, b'{"message": "bad \\u001b[2J"}', RateLimitReport()),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_of_ours_is_visible_as_text(error: MarketPipeError) -> None:
    assert str(error).endswith(r"bad \x1b[2J")


def test_what_the_http_library_logs_is_made_visible() -> None:
    record = logging.LogRecord("httpx", logging.INFO, "", 1, "HTTP Request: %s", ("400 \x9b31m",), None)
    assert Redactor(["a long secret"]).filter(record)
    assert record.getMessage() == r"HTTP Request: 400 \x9b31m"
