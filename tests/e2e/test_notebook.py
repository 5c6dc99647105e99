"""The notebook of the documentation runs from its first cell to its last, and shows what it promises."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
NOTEBOOK = PROJECT / "docs" / "notebooks" / "quickstart.ipynb"


def opened() -> Any:
    import nbformat

    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Run the notebook in a folder of its own; return what its cells show, by MIME type. A cell that fails raises."""
    from nbclient import NotebookClient

    notebook = opened()
    folder = tmp_path_factory.mktemp("notebook")
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    assert (folder / "quickstart" / "data" / "symbol=AAPL").is_dir()
    return [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ())]


def html_of(outputs: list[dict[str, Any]]) -> str:
    return "\n".join(output.get("text/html", "") for output in outputs)


def test_the_notebook_shows_a_candle_plot_of_the_regular_session(outputs: list[dict[str, Any]]) -> None:
    (figure,) = [shown for output in outputs if (shown := output.get("application/vnd.plotly.v1+json"))]

    assert figure["data"][0]["type"] == "candlestick"


def test_the_notebook_shows_the_progress_the_plan_and_the_ingestion(outputs: list[dict[str, Any]]) -> None:
    html = html_of(outputs)

    assert '<progress value="45" max="45">' in html  # three symbols, fifteen sessions
    assert "<b>Plan</b>" in html
    assert "<b>Ingestion 1: completed</b>" in html


def test_the_notebook_shows_a_heat_map_with_what_is_missing(outputs: list[dict[str, Any]]) -> None:
    html = html_of(outputs)

    assert html.count("<svg") == 3
    assert "NOT complete: 51 complete, 15 missing" in html


def test_the_notebook_shows_what_was_not_stored_yet_at_an_earlier_moment(outputs: list[dict[str, Any]]) -> None:
    (compared,) = [html for output in outputs if "close_then" in (html := output.get("text/html", ""))]

    assert compared.count("<td>NaN</td>") == 2  # the two sessions that were ingested afterwards


def test_the_extra_installs_what_shows_a_figure_that_ends_a_cell() -> None:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]

    assert {"nbformat", "plotly"} <= {re.split("[>=<]", each)[0] for each in extras["notebook"]}


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = opened()

    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
