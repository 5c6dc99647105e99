from __future__ import annotations

import pytest

from marketpipe.config import ClientConfig
from marketpipe.shared_kernel.domain.errors import ConfigurationError

UNENCRYPTED = "base_url: https is required: http would send the keys unencrypted to "


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://data.alpaca.markets", "https://data.alpaca.markets"),
        ("https://data.alpaca.markets/", "https://data.alpaca.markets"),
        ("https://data.sandbox.alpaca.markets//", "https://data.sandbox.alpaca.markets"),
        ("https://proxy.example.com:8443/alpaca/", "https://proxy.example.com:8443/alpaca"),
        ("HTTPS://data.alpaca.markets", "https://data.alpaca.markets"),
        ("  https://data.alpaca.markets/ \n", "https://data.alpaca.markets"),
        ("https://data.alpaca.markets?", "https://data.alpaca.markets"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
    ],
)
def test_https_is_kept_without_its_trailing_slash(given: str, kept: str) -> None:
    assert ClientConfig(base_url=given).base_url == kept


@pytest.mark.parametrize(
    "url",
    [
        *("http://localhost", "http://localhost:8765", "http://LOCALHOST:1", "http://127.0.0.1:8765"),
        *("http://127.8.8.8", "http://[::1]", "http://[::1]:8765"),
    ],
)
def test_plain_http_is_allowed_on_loopback(url: str) -> None:
    assert ClientConfig(base_url=url).base_url == url


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://data.alpaca.markets", "data.alpaca.markets"),
        ("http://localhost.example.com", "localhost.example.com"),
        ("http://127.0.0.1.example.com", "127.0.0.1.example.com"),
        ("http://127.0.0.1\t.example.com", "127.0.0.1.example.com"),
        ("http://notlocalhost", "notlocalhost"),
        ("http://192.168.0.1", "192.168.0.1"),
        ("http://0.0.0.0", "0.0.0.0"),
        ("http://2130706433", "2130706433"),
        ("http://[::]", "::"),
        ("ftp://127.0.0.1", "127.0.0.1"),
        ("ws://localhost", "localhost"),
        ("//data.alpaca.markets", "data.alpaca.markets"),
    ],
)
def test_keys_are_never_sent_unencrypted(url: str, host: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        ClientConfig(base_url=url)
    assert str(refusal.value) == UNENCRYPTED + host


@pytest.mark.parametrize(
    "url",
    [
        *("", " ", "https", "https:", "https://", "https:///v2", "data.alpaca.markets", "https:data.alpaca.markets"),
        *("https://[::1", "https://h:99999", "https://h:port", "https://h:0", "https://h:-1", "https://exa℀mple.com"),
        *("https://data alpaca markets", "https://h\\@x", "https://user@h", "https://@h", "https://:@h"),
        *("http://127.0.0.1@example.com", "http://example.com#@127.0.0.1", "https://h?x=1", "https://h#x"),
        *("https://données.example", "https://<host>", "file:///etc/passwd"),
    ],
)
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^base_url: expected a URL such as https://data\.alpaca\.markets"):
        ClientConfig(base_url=url)


@pytest.mark.parametrize("value", [None, 5, ["https://h"], b"https://h"])
def test_what_is_no_text_is_no_url(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"^base_url: expected a URL such as"):
        ClientConfig(base_url=value)  # type: ignore[arg-type]
