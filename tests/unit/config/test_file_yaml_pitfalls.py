from __future__ import annotations

import re
from contextlib import chdir
from pathlib import Path

import pytest

from marketpipe.config import load_config, load_store_config
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from tests.unit.config.yaml_texts import LoadText, yaml_text


def refusal(load_text: LoadText, text: str | bytes) -> str:
    with pytest.raises(ConfigurationError) as refused:
        load_text(text)
    return str(refused.value)


def test_symbols_that_are_words_of_yaml_stay_symbols(load_text: LoadText) -> None:
    config = load_text(yaml_text(symbols="[ON, NO, OFF, YES, Y, N]"))
    assert [str(symbol) for symbol in config.symbols] == ["N", "NO", "OFF", "ON", "Y", "YES"]


def test_dates_need_no_quotes(load_text: LoadText) -> None:
    assert load_text(yaml_text(start="2024-01-02")).start == TradingDate.parse("2024-01-02")
    assert load_text(yaml_text(start="'2024-01-02'")).start == TradingDate.parse("2024-01-02")


@pytest.mark.parametrize("text", ["off", "'off'"])
def test_severity_off_needs_no_quotes(text: str, load_text: LoadText) -> None:
    config = load_text(yaml_text({"validation.severities": f"{{volume_spike: {text}}}"}))
    assert config.validation.severities == {"volume_spike": Severity.OFF}


@pytest.mark.parametrize("text", ["010", "1:30", "0b11", "0x3", "3e0"])
def test_numbers_written_in_other_bases_are_not_guessed(text: str, load_text: LoadText) -> None:
    assert f"not '{text}'" in refusal(load_text, yaml_text(workers=text))


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        (yaml_text() + "symbols: [MSFT]\n", "symbols", 5),
        (yaml_text() + "alpaca: {feed: iex, feed: sip}\n", "feed", 5),
        (yaml_text() + "synthetic:\n  seed: 1\n  'seed': 1\n", "seed", 7),
    ],
)
def test_a_repeated_key_is_refused_with_its_line(
    text: str, key: str, line: int, load_text: LoadText, config_file: Path
) -> None:
    assert refusal(load_text, text) == (
        f"{config_file}: not valid YAML: line {line}: the key '{key}' is repeated or is not text"
    )


@pytest.mark.parametrize("key", ["? [a, b]\n", "? {a: b}\n"])
def test_a_key_that_is_not_text_is_refused(key: str, load_text: LoadText) -> None:
    assert "line 5: the key" in refusal(load_text, yaml_text() + f"{key}: 5\n")


@pytest.mark.parametrize(
    "text",
    [
        yaml_text(workers="&count 2", alpaca="{rate_limit_per_min: *count}"),
        yaml_text(symbols="&s [AAPL, *s]"),
        yaml_text() + "metrics: &m {port: 1}\nsynthetic: *m\n",
    ],
)
def test_aliases_are_refused(text: str, load_text: LoadText) -> None:
    assert "aliases (*name) and tags (!name) are not supported" in refusal(load_text, text)


def test_exponential_aliases_are_refused_at_the_first_one(load_text: LoadText) -> None:
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    assert "line 6: aliases" in refusal(load_text, yaml_text() + "a0: &a0 [x]\n" + levels)


@pytest.mark.parametrize(
    "value",
    [
        *("!!int ''", "!!float ''", "!!bool maybe", "!!timestamp now", "!!map [1, 2]", "!!set {a}", "!!omap [a]"),
        *("!!binary '@'", "!!python/object/apply:os.system [ls]", "!mine 5", "! 5", "!!str 5"),
    ],
)
def test_tags_are_refused(value: str, load_text: LoadText) -> None:
    assert "line 5: aliases (*name) and tags (!name) are not supported" in refusal(load_text, yaml_text(workers=value))


def test_merge_keys_are_no_more_than_an_unknown_key(load_text: LoadText) -> None:
    assert "unknown key '<<'" in refusal(load_text, yaml_text() + "<<: {workers: 2}\n")


@pytest.mark.parametrize(
    "text", ["", "\n", "# only a remark\n", "---\n", "null\n", "AAPL\n", "5\n", "- provider\n", "[]"]
)
def test_file_that_is_no_mapping_is_refused(text: str, load_text: LoadText, config_file: Path) -> None:
    assert refusal(load_text, text) == f"{config_file}: expected keys and values, such as 'provider: synthetic'"


@pytest.mark.parametrize(
    "content",
    [
        b"PAR1\x15\x04\x15\x00\x00\x00",
        bytes(range(256)),
        b"\x00" * 100,
        b"\xff\xfe\x00\xd8",
        b"provider: synth\xe9tic\n",
        b"\x1f\x8b\x08\x00",
    ],
)
def test_binary_file_is_refused(content: bytes, load_text: LoadText, config_file: Path) -> None:
    assert refusal(load_text, content).startswith(f"{config_file}: not valid YAML: ")


@pytest.mark.parametrize(
    "text",
    ["a: b: c\n", "{", "a: 'open\n", "\tprovider: x\n", "a: [1, 2\nb: 3\n", "---\na: 1\n---\na: 2\n", "%YAML x\n"],
)
def test_broken_yaml_is_refused_with_a_line(text: str, load_text: LoadText, config_file: Path) -> None:
    assert refusal(load_text, text).startswith(f"{config_file}: not valid YAML: line ")


@pytest.mark.parametrize("deep", ["[" * 5_000, "{a: " * 5_000, "- " * 5_000])
def test_deep_nesting_is_refused(deep: str, load_text: LoadText) -> None:
    assert "not valid YAML" in refusal(load_text, yaml_text() + f"x:\n  {deep}")


@pytest.mark.parametrize("number", ["1" * 5_000, "0x" + "f" * 5_000, "1:" * 500 + "1.0"])
def test_enormous_number_is_refused(number: str, load_text: LoadText) -> None:
    assert refusal(load_text, yaml_text(workers=number))


def test_huge_file_is_refused_unread(load_text: LoadText, config_file: Path) -> None:
    text = yaml_text() + "#" * 1_000_000
    assert refusal(load_text, text) == f"{config_file}: larger than 1,000,000 bytes"


def test_endless_file_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^/dev/zero: larger than"):
        load_config(Path("/dev/zero"))


def test_many_keys_are_refused_quickly(load_text: LoadText) -> None:
    many = "".join(f"k{n}: 1\n" for n in range(5_000))
    assert "unknown key 'k0'" in refusal(load_text, yaml_text() + many)


def test_thousands_of_symbols_are_fine(load_text: LoadText) -> None:
    names = ", ".join(f"A{n}" for n in range(2_000))
    assert len(load_text(yaml_text(symbols=f"[{names}]")).symbols) == 2_000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_file_may_begin_with_a_byte_order_mark(encoding: str, load_text: LoadText) -> None:
    config = load_text(yaml_text(output_path="données").encode(encoding))
    assert config.output_path == Path("données")


@pytest.mark.parametrize(("name", "reason"), [("nowhere.yaml", "No such file or directory"), ("", "Is a directory")])
def test_file_that_cannot_be_read_is_named_with_the_reason(name: str, reason: str, tmp_path: Path) -> None:
    for load in (load_config, load_store_config):
        with pytest.raises(ConfigurationError) as refused:
            load(tmp_path / name)
        assert str(refused.value) == f"{tmp_path / name}: cannot be read ({reason})"


def test_file_that_cannot_be_read_is_named_with_its_folder(tmp_path: Path) -> None:
    with chdir(tmp_path), pytest.raises(ConfigurationError, match=re.escape(f"{tmp_path / 'nowhere.yaml'}: ")):
        load_config("nowhere.yaml")
