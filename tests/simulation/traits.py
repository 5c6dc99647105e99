"""``Traits``: what is drawn once for a whole story, as plain data."""

from __future__ import annotations

from attrs import field, frozen


@frozen
class DiskTraits:
    """How the modelled disk behaves.

    ``step_ns`` is the step of its clock; with 0 it keeps no times at all after a copy. A power loss keeps a prefix of
    the unsynced operations of all folders if it is ``ordered``, or any subset. ``listing`` is "sorted", "reversed" or
    "shuffled".
    """

    step_ns: int = 1
    ordered: bool = True
    has_links: bool = True
    can_exchange: bool = True
    short_writes: bool = False
    listing: str = "sorted"


@frozen
class Traits:
    """How the machine, the users' settings and the provider are in a story.

    ``patience`` says how often the same thread goes on at a call: 0 to 1. ``skew`` is by how many seconds the first
    clock of the machine is ahead; faults and steps change it. ``copies`` is "none", "parquet" or "arrow".
    The world begins at ``begins``; ``start`` is the first trading date that its users have configured.
    """

    disk: DiskTraits = field(factory=DiskTraits)
    patience: float = 0.9
    skew: float = 0.0
    feed: str = "iex"
    adjustment: str = "raw"
    session: str = "regular"
    timeframes: tuple[str, ...] = ()
    copies: str = "none"
    workers: int = 1
    confirmations: int = 2
    requests_per_minute: int = 200
    begins: str = "2024-03-04T12:00:00Z"
    start: str = "2024-03-04"


@frozen
class SymbolTraits:
    """One symbol of the market: a bar every ``minutes`` minutes of its sessions from ``listed`` to ``delisted``."""

    symbol: str
    minutes: int = 15
    listed: str = ""
    delisted: str = ""
    price: float = 100.0
