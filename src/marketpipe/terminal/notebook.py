"""The progress of an ingestion or an audit in a notebook: one line with a bar below the cell, drawn in place."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape

from marketpipe.terminal.run_counts import RunCounts

SECONDS_BETWEEN_UPDATES = 0.25
Display = Callable[[str], Callable[[str], None]]
"""Shows HTML below the cell and returns a function that replaces it."""


def display_below_the_cell(html: str) -> Callable[[str], None]:
    """Show HTML in the notebook that runs this process; it may be replaced from any thread."""
    from IPython.display import display

    shown = display({"text/html": html}, raw=True, display_id=True)
    return lambda again: shown.update({"text/html": again}, raw=True)


@contextmanager
def notebook_bar(
    describe: Callable[[RunCounts], str],
    display: Display = display_below_the_cell,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[[RunCounts], None]]:
    """Draw a bar while the block runs. Yields the function that changes what it shows; at the end it shows the last."""
    replace = display(_html(0, None, "planning"))
    latest, drawn_at, ended = list[RunCounts](), now(), False

    def show(counts: RunCounts) -> None:
        nonlocal drawn_at
        if ended:  # the pipeline is used again: what this cell did stays below it
            return
        latest[:] = [counts]
        if now() - drawn_at >= SECONDS_BETWEEN_UPDATES:  # a browser must not be sent every page
            drawn_at = now()
            draw(counts)

    def draw(counts: RunCounts) -> None:
        replace(_html(counts.done, counts.planned, describe(counts)))

    try:
        yield show
    finally:
        ended = True
        for counts in latest:
            draw(counts)


def _html(done: int, planned: int | None, text: str) -> str:
    bar = f'<progress value="{done}" max="{planned}"></progress> ' if planned else ""
    return f"<div>{bar}{escape(text)}</div>"
