"""The skeleton of a package that adds a market data provider. Its tests pass before a line of it is changed.

The other files of this folder are templates: ``$name`` is the provider's name, ``$Name`` begins those of its classes.
"""

from __future__ import annotations

from marketpipe.plugin_skeleton.writer import NewPlugin, write_plugin

__all__ = ["NewPlugin", "write_plugin"]
