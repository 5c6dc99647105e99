"""Ends the fork server and every worker process soon after the process that they work for.

Importing this module has effects in a fork server of multiprocessing, which imports it first; nothing else imports it.
Without it the fork server and its workers keep each other alive: the fork server ends when a pipe closes, but each
worker has inherited the writing end of that pipe. And a worker cannot see that its parent is gone while it is in a call
that holds the interpreter's lock. So the kernel kills a worker together with its fork server (Linux), and the fork
server checks several times a second whether its parent has changed. It checks in a signal handler: a thread in the fork
server would make forking unsafe. A thread of the worker watches too, see ``worker_pool``.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

from marketpipe.memory_arenas import share_one_arena

SECONDS_BETWEEN_CHECKS = 0.2
PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>: the signal that the kernel sends to a process when its parent dies."""


def end_with(parent: int) -> Callable[[], None]:
    """Return a function that makes a newly forked process end with ``parent``, even if that has died already."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def end_with_parent() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return end_with_parent


def watch(parent: int) -> None:
    """End this process when its parent is no longer ``parent``: orphans are given to another one."""

    def check(*_: object) -> None:
        if os.getppid() != parent:
            os._exit(1)

    signal.signal(signal.SIGALRM, check)
    signal.setitimer(signal.ITIMER_REAL, SECONDS_BETWEEN_CHECKS, SECONDS_BETWEEN_CHECKS)


if any("multiprocessing.forkserver" in argument for argument in sys.orig_argv):  # not if imported anywhere else
    for number in (signal.SIGHUP, signal.SIGINT):  # a closed terminal and Ctrl-C reach every process
        signal.signal(number, signal.SIG_IGN)  # only the parent acts on them; workers inherit this
    watch(os.getppid())
    share_one_arena()  # pyarrow starts a thread when it is imported; what is set here, workers inherit
    os.register_at_fork(after_in_child=end_with(os.getpid()))  # a timer is not inherited: no worker is interrupted
