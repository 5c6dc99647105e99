"""The arguments of the configuration classes, as a user and ``help`` see them."""

from __future__ import annotations

import inspect
import pickle
import pydoc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve, fields

import marketpipe
from marketpipe import config as configuration
from marketpipe.config import ClientConfig, PipelineConfig, StoreConfig, ValidationConfig
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.symbol import Symbol

NAMED: dict[str, Any] = {"provider": "synthetic", "symbols": ["AAPL"], "start": "2024-01-02", "end": "2024-01-05"}
CLASSES = [each for name in configuration.__all__ if name.endswith("Config") for each in [getattr(configuration, name)]]
TYPED = [*CLASSES, configuration.Credentials]


@pytest.mark.parametrize("kind", TYPED)
def test_help_states_types_and_leaves_none_open(kind: type) -> None:
    assert "Any" not in pydoc.render_doc(kind, renderer=pydoc.plaintext)  # type: ignore[attr-defined]
    assert all(each.annotation is not inspect.Parameter.empty for each in inspect.signature(kind).parameters.values())


@pytest.mark.parametrize("kind", CLASSES)
def test_the_arguments_are_the_fields(kind: Any) -> None:
    assert sorted(inspect.signature(kind).parameters) == sorted(each.name for each in fields(kind))


def test_arguments_are_shown_as_they_are_written() -> None:
    shown = str(inspect.signature(PipelineConfig))

    assert shown.startswith(
        "(*, provider: str, symbols: str | Symbol | Iterable[str | Symbol], start: TradingDate | date"
    )
    assert "aggregates_path: Path | str = ..., " in shown
    assert "workers: int = 4, " in shown
    assert str(inspect.signature(ClientConfig)).startswith("(*, feed: str = 'sip', adjustment: str = 'raw', ")


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (PipelineConfig, {"symbol": "AAPL"}, "PipelineConfig: unknown argument 'symbol'; did you mean 'symbols'?"),
        (StoreConfig, {"ouput_path": "x"}, "StoreConfig: unknown argument 'ouput_path'; did you mean 'output_path'?"),
        (ClientConfig, {"fed": "iex"}, "ClientConfig: unknown argument 'fed'; did you mean 'feed'?"),
        (ValidationConfig, {"x": 1}, "ValidationConfig: unknown argument 'x'; use one of: severities"),
        (PipelineConfig, {"provider": "synthetic"}, "PipelineConfig: missing symbols, start, end"),
    ],
)
def test_an_unknown_or_missing_argument_is_named_with_the_nearest(kind: Any, given: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        kind(**given)

    assert str(caught.value) == message


def test_an_unknown_key_of_a_section_is_named_with_its_section() -> None:
    with pytest.raises(ConfigurationError, match=r"alpaca.*unknown argument 'fed'; did you mean 'feed'"):
        PipelineConfig(**NAMED, alpaca={"fed": "iex"})


@pytest.mark.parametrize(
    "symbols",
    [
        *("AAPL", Symbol("AAPL"), ["AAPL"], ("AAPL",), {"AAPL"}, {"AAPL": 1}.keys()),
        *((name for name in ["AAPL", "AAPL"]), np.array(["AAPL"])),
    ],
)
def test_symbols_may_be_one_or_any_collection(symbols: Any) -> None:
    assert PipelineConfig(**{**NAMED, "symbols": symbols}).symbols == (Symbol("AAPL"),)


@pytest.mark.parametrize("symbols", [[], "", None, 5, [5], {"AAPL": 1}, b"AAPL", [["AAPL"]]])
def test_what_is_no_symbol_is_refused(symbols: Any) -> None:
    with pytest.raises(ConfigurationError, match="symbols: "):
        PipelineConfig(**{**NAMED, "symbols": symbols})


def test_a_configuration_is_copied_changed_and_sent_to_another_process(tmp_path: Path) -> None:
    made = PipelineConfig(**NAMED, output_path=tmp_path / "data", timeframes={"1h"})

    assert pickle.loads(pickle.dumps(made)) == made
    assert evolve(made, workers=7) == PipelineConfig(
        **NAMED, output_path=tmp_path / "data", timeframes=["1h"], workers=7
    )


@pytest.mark.parametrize(
    ("function", "unknown", "near"),
    [
        (marketpipe.get, "interval", "use one of: columns, complete, config, "),
        (marketpipe.get, "timefram", "did you mean 'timeframe'"),
        (marketpipe.load_ohlcv, "colums", "did you mean 'columns'"),
        (marketpipe.Pipeline.get, "sessions", "did you mean 'session'"),
        (marketpipe.Pipeline.load, "asof", "did you mean 'as_of'"),
    ],
)
def test_a_function_names_the_nearest_argument_and_states_its_types(
    function: Callable[..., Any], unknown: str, near: str
) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{unknown}'; {near}"):
        function("AAPL", "2024-01-02", "2024-01-03", **{unknown: 1})
    assert inspect.signature(function).parameters["complete"].annotation == "Complete"
