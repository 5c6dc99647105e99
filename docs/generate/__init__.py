"""Pages of the site that are generated from the code, so that they cannot differ from it."""

from __future__ import annotations

from collections.abc import Mapping

from . import decisions


def pages() -> Mapping[str, str]:
    """Return the text of every generated page by its path below docs/."""
    return {
        "explanation/decisions.md": decisions.page(),
    }
