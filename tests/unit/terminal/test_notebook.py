from __future__ import annotations

import pytest

from marketpipe.terminal.notebook import SECONDS_BETWEEN_UPDATES, notebook_bar
from marketpipe.terminal.run_counts import RunCounts


class Page:
    """What a notebook shows below a cell: the texts one after the other."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.now = 0.0

    def display(self, html: str) -> object:
        self.shown.append(html)
        return self.shown.append


def describe(counts: RunCounts) -> str:
    return f"{counts.done} <done>"


def test_the_bar_is_drawn_at_most_four_times_a_second_and_ends_with_the_last_counts() -> None:
    page, counts = Page(), RunCounts(planned=10)

    with notebook_bar(describe, page.display, lambda: page.now) as show:
        for counts.done in range(1, 10):
            show(counts)
        page.now += SECONDS_BETWEEN_UPDATES
        show(counts)
        counts.done = 10
        show(counts)

    first, second, last = page.shown
    assert "planning" in first
    assert '<progress value="9" max="10">' in second
    assert '<progress value="10" max="10">' in last


def test_what_failed_leaves_the_last_counts_and_text_is_escaped() -> None:
    page, counts = Page(), RunCounts(planned=3, done=2)

    def fail_after_a_page() -> None:
        with notebook_bar(describe, page.display, lambda: page.now) as show:
            show(counts)
            raise KeyError

    with pytest.raises(KeyError):
        fail_after_a_page()

    assert page.shown[-1] == '<div><progress value="2" max="3"></progress> 2 &lt;done&gt;</div>'


def test_nothing_is_planned_yet_so_there_is_no_bar() -> None:
    page = Page()

    with notebook_bar(describe, page.display) as show:
        show(RunCounts())

    assert all("<progress" not in html for html in page.shown)


def test_what_the_pipeline_does_after_the_block_changes_nothing_below_the_cell() -> None:
    page = Page()

    with notebook_bar(describe, page.display, lambda: page.now) as show:
        show(RunCounts(planned=3, done=3))
    page.now += SECONDS_BETWEEN_UPDATES
    show(RunCounts(planned=0))

    assert 'value="3" max="3"' in page.shown[-1]
