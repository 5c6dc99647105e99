from __future__ import annotations

from typing import Any

import pytest

from marketpipe.integration.domain.table_import import ImportPreview, ImportSettings, Stamps, is_imported, provider_name
from marketpipe.shared_kernel.domain.errors import ConfigurationError, ValidationError
from marketpipe.shared_kernel.domain.timeframe import Timeframe


def test_a_provider_is_named_after_the_import() -> None:
    assert provider_name("kibot") == provider_name("import:kibot") == "import:kibot"
    assert is_imported("import:kibot")
    assert not is_imported("alpaca")


@pytest.mark.parametrize("name", ["", "Kibot", "a b", "import:", "../x", "x" * 41, -1])
def test_a_name_not_in_form_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="not the name of an import"):
        provider_name(name)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stamps": "rigth"}, "^stamps: 'rigth' is not allowed; did you mean 'right'"),
        ({"price_unit": "cent"}, "did you mean 'cents'"),
        ({"timeframe": "5m"}, "bars of 5m cannot be imported"),
        ({"columns": {"opn": "x"}}, "did you mean 'open'"),
        ({"symbol": "AAPL", "symbol_from": "name"}, "symbol or symbol_from"),
        ({"timeframe": "1d", "stamps": "right"}, "stamps: a daily bar is one of a date"),
        ({"ambiguous": "both"}, "^ambiguous: 'both' is not allowed"),
        ({"adjustment": "splits"}, "did you mean 'split'"),
        ({"date_order": "YDM"}, "not allowed"),
        *[({name: 1}, f"^{name}: '1' is not allowed") for name in ("stamps", "price_unit", "adjustment", "date_order")],
        ({"columns": {"open": 5}}, "the column for open is text, not 5"),
        ({"columns": "open=o"}, "is no mapping; write columns="),
    ],
)
def test_what_cannot_be_stated_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ImportSettings(name="x", **settings)


def test_words_become_values() -> None:
    assert ImportSettings(name="x", stamps="right").stamps is Stamps.RIGHT


def test_a_preview_with_questions_is_not_ok() -> None:
    assert not ImportPreview("import:x", "raw", Timeframe.MINUTE_1, {}, questions=("which?",)).ok
