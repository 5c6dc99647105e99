"""What the commands print with which something is set up."""

from __future__ import annotations

import shlex

from marketpipe.plugin_skeleton import NewPlugin
from marketpipe.terminal.output import out


def print_new_plugin(plugin: NewPlugin) -> None:
    """Print the files of a new package, and what to do with it."""
    out(f"{plugin.folder}: a package with the market data provider {plugin.name}")
    for file in plugin.files:
        out(f"  {file}")
    out()
    out(f"Now run its tests, and read {plugin.folder / 'README.md'}:")
    out(f"  cd {shlex.quote(str(plugin.folder))}")
    out("  python -m pip install -e '.[test]'")
    out("  python -m pytest")
