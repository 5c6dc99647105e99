from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from tests.unit.config.yaml_texts import LoadText, yaml_text

SECRET = "PKSECRETVALUE0123456789"
ADVICE = (
    "credentials do not belong in a file that is shared; remove it, and set "
    "ALPACA_KEY and ALPACA_SECRET in the environment or in .env"
)
NAMES = ["key", "api_key", "api-key", "apikey", "apiKey", "key_id", "secret", "secret_key", "password", "token"]
NAMES += ["access_token", "ALPACA_KEY", "ALPACA_SECRET", "APCA_API_KEY_ID", "APCA-API-KEY-ID", "APCA-API-SECRET-KEY"]


def refusal(load_text: LoadText, text: str, overrides: dict[str, str] | None = None) -> str:
    """The secret is neither in the message nor in the traceback, which shows what it was raised from."""
    with pytest.raises(ConfigurationError) as refused:
        load_text(text, overrides)
    assert SECRET not in "".join(traceback.format_exception(refused.value))
    return str(refused.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("section", ["", "alpaca.", "metrics."])
def test_credentials_in_a_file_are_refused_without_repeating_them(
    name: str, section: str, load_text: LoadText, config_file: Path
) -> None:
    text = yaml_text({f"{section}{name}": SECRET})
    assert refusal(load_text, text) == f"{config_file}: {section}{name}: {ADVICE}"


def test_credentials_among_the_overrides_are_refused_without_repeating_them(load_text: LoadText) -> None:
    assert refusal(load_text, yaml_text(), {"alpaca.secret": SECRET}) == (f"the command line: alpaca.secret: {ADVICE}")


@pytest.mark.parametrize(
    "broken",
    [
        f'alpaca: {{secret: "{SECRET}\n',
        f"alpaca: {{key: {SECRET}: x}}\n",
        f"alpaca:\n  key: {SECRET}\n secret: {SECRET}\n",
        f"alpaca:\n\tkey: {SECRET}\n",
        f"secret: [{SECRET}, {SECRET}\nworkers: 2\n",
        f"secret: *{SECRET}x {SECRET}\n",
        f"secret: @{SECRET}\n",
        f"secret: {SECRET}\nsecret: {SECRET}\n",
        f'secret: "\\q{SECRET}"\n',
    ],
)
def test_broken_yaml_is_refused_without_quoting_the_line_of_a_secret(broken: str, load_text: LoadText) -> None:
    assert "not valid YAML: line " in refusal(load_text, yaml_text() + broken)


@pytest.mark.parametrize("value", [SECRET, f"[key, {SECRET}]", f"[key: {SECRET}]"])
def test_section_that_holds_a_bare_secret_is_refused_without_repeating_it(value: str, load_text: LoadText) -> None:
    assert refusal(load_text, yaml_text(alpaca=value)).endswith("alpaca: expected keys and values")


@pytest.mark.parametrize(
    "url",
    [
        f"https://key:{SECRET}@data.alpaca.markets",
        f"https://:{SECRET}@data.alpaca.markets",
        f"https://{SECRET}@data.alpaca.markets",
        f"https://data.alpaca.markets?apikey={SECRET}",
        f"https://data.alpaca.markets/#{SECRET}",
        f"https://key:{SECRET}/@data.alpaca.markets",
        f"http://key:{SECRET}@data.alpaca.markets",
        f"{SECRET}",
    ],
)
def test_url_with_credentials_is_refused_without_repeating_it(url: str, load_text: LoadText) -> None:
    assert "alpaca.base_url: expected a URL such as https" in refusal(
        load_text, yaml_text({"alpaca.base_url": f"'{url}'"})
    )


def test_symbol_that_contains_key_is_no_secret(load_text: LoadText) -> None:
    assert [str(symbol) for symbol in load_text(yaml_text(symbols="[KEY, TOKEN]")).symbols] == ["KEY", "TOKEN"]
