"""``Machine``: all that the product has of the computer that it runs on. Another one can be put in its place."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from marketpipe.shared_kernel.infrastructure.machine.disk import Disk
from marketpipe.shared_kernel.infrastructure.machine.processes import REAL_PROCESSES, Processes
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.shared_kernel.infrastructure.machine.threads import REAL_THREADS, Threads

if TYPE_CHECKING:
    import sqlite3


def _connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
    import sqlite3  # here, because few commands open the state

    connection: sqlite3.Connection = sqlite3.connect(*arguments, **options)
    return connection


def _new_name() -> str:
    from uuid import uuid4  # here, because only some locks need it

    return uuid4().hex


@frozen(eq=False)
class Machine:
    """A computer. ``numbers`` are those of temporary names: no two of a process have the same one.

    ``monotonic`` and ``pause`` are for locks: a ``Clock`` that a user hands in may stand still.
    """

    disk: Disk = REAL_DISK
    threads: Threads = REAL_THREADS
    processes: Processes = REAL_PROCESSES
    connect: Callable[..., sqlite3.Connection] = _connect
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    uniform: Callable[[float, float], float] = random.uniform
    new_name: Callable[[], str] = _new_name
    processors: int = os.cpu_count() or 1
    numbers: Iterator[int] = field(factory=lambda: count(1), repr=False)


HERE: Final = Machine()
"""The computer that the program runs on."""
