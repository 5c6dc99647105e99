"""The composition root: the one place that knows every adapter. It makes each when it is first needed.

Adapters are imported where they are made, so that reading a store does not load what only ingestion uses.
"""

from __future__ import annotations

from marketpipe.bootstrap.composition import Bootstrap

__all__ = ["Bootstrap"]
