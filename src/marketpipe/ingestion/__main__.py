"""``python -m marketpipe.ingestion …`` is ``marketpipe ingest …``.

The command line is run by its name and not imported: a context must not know who composes it (docs/adr/0003).
"""

from __future__ import annotations

import runpy
import sys

sys.argv[1:1] = ["ingest"]
runpy.run_module("marketpipe", run_name="__main__", alter_sys=True)
