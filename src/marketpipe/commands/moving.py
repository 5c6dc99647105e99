"""The commands that bring what a store has to another place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from marketpipe.commands.options import Config, Json
from marketpipe.terminal.process import open_pipeline
from marketpipe.terminal.verbosity import is_wanted

STATE = "state/marketpipe.sqlite, or postgresql://user@host:5432/database."


def copy_state(
    source: Annotated[str, typer.Argument(metavar="FROM", help=f"Where the state is: {STATE}")],
    target: Annotated[str, typer.Argument(metavar="TO", help="Where it shall be.")],
    config: Config = None,
    json: Json = False,
) -> None:
    """Copy the state of the store from one file or database into another.

    Nothing is changed in the first. Every row is compared with its copy before it counts. Afterwards write the new
    place into the configuration: state_path. Refused if the second has a state of this store, or if either is in use.

    marketpipe state copy state/marketpipe.sqlite postgresql://marketpipe@db.example.com:5432/marketpipe
    """
    from attrs import evolve

    from marketpipe.config import load_store_config
    from marketpipe.terminal.integrity import print_state_copy

    settings = evolve(load_store_config(config), state_path=Path(source))
    with open_pipeline(settings) as pipeline:
        report = pipeline.copy_state(target)
    if is_wanted(True, json):
        print_state_copy(report, as_json=json)


def copy(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="Configuration of the store that is copied.")],
    target: Annotated[Path, typer.Argument(metavar="TO", help="Configuration of the place that it is copied to.")],
    json: Json = False,
) -> None:
    """Copy a store with its state to another place.

    Either way between a disk and a bucket, or between two of a kind; nothing is changed in the first. The copy has the
    same bytes, times, former versions and records, so it answers alike, and locks verify. The state comes last. If it
    is killed, run it again. Refused if the place is not empty.

    marketpipe copy marketpipe.yaml cluster.yaml
    """
    from marketpipe.store_copying import copy_store
    from marketpipe.terminal.progress import show_steps
    from marketpipe.terminal.upkeep import print_copy

    with show_steps("copying", "file") as show:
        report = copy_store(source, target, on_files=show)
    if is_wanted(True, json):
        print_copy(report, as_json=json)
