"""Pages of the site that are generated from the code, so that they cannot differ from it.

What the code does not state, such as a sentence for a column, is a table in these modules. A new item of the code that a
table lacks is an error of the build and of the tests (tests/architecture/test_reference_is_complete.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from docs.generate import alerts, commands, configuration, decisions, exit_codes, files, metrics, names, rules


def pages() -> Mapping[str, str]:
    """Return the text of every generated page by its path below docs/."""
    return {
        **names.pages(),
        "reference/commands.md": commands.page(),
        "reference/configuration.md": configuration.page(),
        "reference/rules.md": rules.page(),
        "reference/metrics.md": metrics.page(),
        "reference/alerts.md": alerts.page(),
        "reference/exit-codes.md": exit_codes.page(),
        "reference/files.md": files.page(),
        "explanation/decisions.md": decisions.page(),
    }
