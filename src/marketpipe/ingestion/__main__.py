"""``python -m marketpipe.ingestion …`` is ``marketpipe ingest …``.

It runs the command line by name and does not import it: no context may import the layers that compose it (ADR 0003).
"""

from __future__ import annotations

import runpy
import sys

sys.argv[1:1] = ["ingest"]
runpy.run_module("marketpipe", run_name="__main__", alter_sys=True)
