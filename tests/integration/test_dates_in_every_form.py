"""Every method that takes dates takes all their forms, and "latest"."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.errors import ConfigurationError, ValidationError
from marketpipe.testing import FakeClock
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

TUESDAY, WEDNESDAY, THURSDAY = "2024-01-02", "2024-01-03", "2024-01-04"
NOW = f"{THURSDAY}T15:00:00Z"
"""When Thursday's session is not final, so that the latest one is Wednesday's."""
FORMS: dict[str, Callable[[str], Any]] = {
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
    "pandas": pd.Timestamp,
    "numpy": np.datetime64,
}
CALLS: dict[str, Callable[[Pipeline, Any, Any], Any]] = {
    "load": lambda made, start, end: made.load("AAPL", start, end).num_rows,
    "coverage": lambda made, start, end: [str(day) for day in made.coverage("AAPL", start, end).dates],
    "plan": lambda made, start, end: made.plan("AAPL", start, end).already_settled,
    "ingest": lambda made, start, end: made.ingest("AAPL", start, end).already_settled,
    "audit": lambda made, start, end: sorted(map(str, made.audit("AAPL", start, end).compared)),
    "validate": lambda made, start, end: made.validate("AAPL", start, end).symbol_days,
    "aggregate": lambda made, start, end: made.aggregate("AAPL", start, end).ok,
    "verify": lambda made, start, end: made.verify("AAPL", start, end).files,
    "freeze": lambda made, start, end: len(made.freeze("AAPL", start, end).files),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A store with two days that are final."""
    provider = ScriptedProvider({"AAPL": {day: minutes(day) for day in (TUESDAY, WEDNESDAY, THURSDAY)}})
    settings = config(tmp_path_factory.mktemp("dates"), ["AAPL"], TUESDAY, "latest")
    with pipeline(settings, provider, FakeClock(NOW)) as opened:
        assert opened.ingest().planned == 2
        yield opened


@pytest.mark.parametrize("name", CALLS)
def test_all_forms_of_dates_mean_the_same(made: Pipeline, name: str) -> None:
    call, expected = CALLS[name], CALLS[name](made, TUESDAY, WEDNESDAY)

    for form in FORMS.values():
        assert call(made, form(TUESDAY), form(WEDNESDAY)) == expected
    assert call(made, TUESDAY, "latest") == expected
    assert call(made, "latest", "latest") == call(made, WEDNESDAY, WEDNESDAY)


@pytest.mark.parametrize("name", CALLS)
def test_a_moment_is_refused_by_all(made: Pipeline, name: str) -> None:
    with pytest.raises(ValidationError, match="is not a trading date: give YYYY-MM-DD"):
        CALLS[name](made, pd.Timestamp(f"{TUESDAY} 09:30"), WEDNESDAY)


@pytest.mark.parametrize("form", FORMS)
def test_a_configuration_takes_all_forms(tmp_path: Path, form: str) -> None:
    settings = config(tmp_path, ["AAPL"], FORMS[form](TUESDAY), FORMS[form](WEDNESDAY))

    assert settings == config(tmp_path, ["AAPL"], TUESDAY, WEDNESDAY)


def test_a_configuration_may_start_with_the_latest_session(tmp_path: Path) -> None:
    provider = ScriptedProvider({"AAPL": {WEDNESDAY: minutes(WEDNESDAY)}})
    with pipeline(config(tmp_path, ["AAPL"], "latest", "latest"), provider, FakeClock(NOW)) as opened:
        assert opened.update().planned == 1
        assert opened.ingest().already_settled == 1
    with (
        pipeline(config(tmp_path, ["AAPL"], "latest", TUESDAY), provider, FakeClock(NOW)) as opened,
        pytest.raises(ConfigurationError, match=f"end {TUESDAY} is before start {WEDNESDAY}"),
    ):
        opened.plan()
