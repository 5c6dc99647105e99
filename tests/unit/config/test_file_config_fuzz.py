"""Whatever stands in a file, loading it gives a configuration or a ``ConfigurationError``: never anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from marketpipe.config import PipelineConfig, load_config
from marketpipe.config.classes import SECTIONS, known_keys
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from tests.support.examples import examples
from tests.unit.config.yaml_texts import yaml_text

KEYS = sorted({*known_keys(PipelineConfig), *(key for kind in SECTIONS.values() for key in known_keys(kind))})
WORDS = st.sampled_from([*KEYS, "AAPL", "sip", "5m", "off", "2024-01-02", "https://h", "http://[", "~x/y", "polygon"])
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.dates(), st.binary(max_size=8), st.text(max_size=20), WORDS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(WORDS, st.text(max_size=5), st.integers()), inner, max_size=4),
    ),
    max_leaves=8,
)
VALID: dict[str, Any] = {"provider": "synthetic", "symbols": ["AAPL"], "start": "2024-01-02", "end": "2024-01-03"}
YAML_SIGNS = "{}[]!&*:-?|>'\"%@`#,\\~<=_.+ \n\t0x1eaA\0\x85\ufeff"


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "config.yaml"


def load(file: Path, content: bytes, overrides: dict[str, Any] | None = None) -> PipelineConfig | None:
    """None where the file is refused, which must be in the name of the file or of the command line."""
    file.write_bytes(content)
    try:
        config, shown = load_config(file, overrides), f"{file}: loaded"
        assert repr(config).startswith("PipelineConfig(")
    except ConfigurationError as error:
        config, shown = None, str(error)
    assert shown.startswith((f"{file}: ", "the command line: "))
    return config


@given(value=VALUES)
def test_any_structure_loads_or_is_refused(fuzzed: Path, value: object) -> None:
    assert load(fuzzed, yaml.safe_dump(value, allow_unicode=True).encode()) is None


@examples(150)
@given(key=st.sampled_from(KEYS), value=VALUES)
@example(key="provider", value="workers")
@example(key="provider", value="polygon")
def test_any_value_under_any_key_loads_or_is_refused(fuzzed: Path, key: str, value: object) -> None:
    config = load(fuzzed, yaml.safe_dump({**VALID, key: value}).encode())
    assert config is None or config.start <= config.end


@examples(80)
@given(section=st.sampled_from([*SECTIONS, "polygon"]), key=st.sampled_from(KEYS), value=VALUES)
def test_any_value_in_any_section_loads_or_is_refused(fuzzed: Path, section: str, key: str, value: object) -> None:
    config = load(fuzzed, yaml.safe_dump({**VALID, "provider": "polygon", section: {key: value}}).encode())
    assert config is None or config.provider == "polygon"


@examples(80)
@given(section=VALUES, overrides=st.dictionaries(st.sampled_from([*KEYS, "alpaca.feed", "x.y"]), VALUES, max_size=3))
def test_any_overrides_load_or_are_refused(fuzzed: Path, section: object, overrides: dict[str, Any]) -> None:
    load(fuzzed, yaml.safe_dump({**VALID, "alpaca": section}).encode(), overrides)


@examples(150)
@given(text=st.text(alphabet=YAML_SIGNS, max_size=40), key=st.sampled_from(["workers", "symbols", "alpaca", "x"]))
@example(text="!!map [1, 2]", key="workers")
@example(text="!!int ''", key="workers")
@example(text="!!timestamp x", key="start")
@example(text=f"{'1:' * 300}1.0", key="workers")
@example(text=f"0x{'f' * 5_000}", key="workers")
def test_any_text_after_a_key_loads_or_is_refused(fuzzed: Path, text: str, key: str) -> None:
    load(fuzzed, f"{yaml_text({key: None})}{key}: {text}".encode())


@given(content=st.one_of(st.binary(max_size=100), st.text(max_size=100).map(str.encode)))
def test_any_bytes_load_or_are_refused(fuzzed: Path, content: bytes) -> None:
    assert load(fuzzed, content) is None


@given(symbols=st.lists(st.from_regex(r"[A-Z][A-Z0-9]{0,5}", fullmatch=True), min_size=1), quoted=st.booleans())
@example(symbols=["ON", "NO", "Y", "N", "OFF", "YES"], quoted=False)
def test_any_symbols_come_through_yaml_as_they_are(fuzzed: Path, symbols: list[str], quoted: bool) -> None:
    written = [f"'{symbol}'" if quoted or symbol in ("TRUE", "FALSE", "NULL") else symbol for symbol in symbols]
    config = load(fuzzed, yaml_text(symbols=f"[{', '.join(written)}]").encode())
    assert config is not None
    assert [str(symbol) for symbol in config.symbols] == sorted(set(symbols))
