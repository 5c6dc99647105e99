"""``python -m marketpipe`` is the command ``marketpipe``."""

from __future__ import annotations

from marketpipe.cli import main

main()
