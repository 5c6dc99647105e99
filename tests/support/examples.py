"""How many examples a property-based test tries: some in ``make test``, all in ``make test-thoroughly``."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import settings

ALL: Final = "MARKETPIPE_ALL_EXAMPLES" in os.environ
SOME: Final = 10
"""One of so many examples is tried in ``make test``, but at least ``FEWEST``."""
FEWEST: Final = 3


def examples(count: int) -> settings:
    """Return the settings of a test that tries ``count`` examples if all are wanted."""
    return settings(max_examples=count if ALL else max(FEWEST, count // SOME))
