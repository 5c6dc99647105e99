"""``python -m marketpipe`` and the console script ``marketpipe``: the command line, which Ctrl-C ends with one line.

It can come while modules are still being imported. KeyboardInterrupt is of no use then: raised inside an import it
leaves a traceback, or is swallowed. Until a command has opened its store nothing has been touched, so that the process
can end at once.
"""

from __future__ import annotations

import gc
import os

STOPPED_BY_CTRL_C = 130


def main() -> None:
    """Run the command line. Where Ctrl-C is ignored, as in the background of a shell script, it stays ignored."""
    gc.disable()  # modules are not garbage; a pipeline enables it when it is open
    try:
        import signal

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _end)
        from marketpipe.cli import main as run_command

        run_command()
    except KeyboardInterrupt:
        _end()


def _end(*_: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(STOPPED_BY_CTRL_C)


if __name__ == "__main__":
    main()
