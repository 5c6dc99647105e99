from __future__ import annotations

import errno
import sqlite3
from typing import Final

DAMAGED: Final = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
NOT_WRITABLE: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
)
NO_ROOM_OR_RIGHT: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS})
RECOVER: Final = "'marketpipe recover' builds a new one from the stored files"
MAKE_ROOM: Final = "free space or allow writing there, and run the same command again"


def trouble_with(error: sqlite3.Error | OSError) -> str:
    """What is wrong with a state file, and what to do, as the end of a sentence that begins with its path."""
    if is_damage(error):
        return f"cannot be used: {error}; {RECOVER}"
    if _code_of(error) in BUSY:
        return f"is held by another process: {error}; wait for it to end, and try again"
    if _code_of(error) in NOT_WRITABLE or getattr(error, "errno", None) in NO_ROOM_OR_RIGHT:
        return f"cannot be used: {error}; {MAKE_ROOM}"
    return f"cannot be used: {error}"


def is_damage(error: sqlite3.Error | OSError) -> bool:
    """A file that is no database, or no longer one."""
    return _code_of(error) in DAMAGED


def _code_of(error: sqlite3.Error | OSError) -> int:
    """SQLite's primary code; 0 for an error of the system."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
