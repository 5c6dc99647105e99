from __future__ import annotations

import errno
import sqlite3
from typing import Final

from marketpipe.shared_kernel.domain.errors import ValidationError

DAMAGED: Final = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
NOT_WRITABLE: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
)
NO_ROOM_OR_RIGHT: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS})
RECOVER: Final = "'marketpipe recover' builds a new one from the stored files"
UNREADABLE: Final = (ValidationError, UnicodeDecodeError, LookupError, TypeError, ValueError, ArithmeticError)
"""What comes of values that MarketPipe never wrote, such as a date with a flipped bit."""
MAKE_ROOM: Final = "free space or allow writing there, and run the same command again"


def trouble_with(error: Exception) -> str:
    """What is wrong with a state file, and what to do, as the end of a sentence that begins with its path."""
    if isinstance(error, UNREADABLE):
        return f"holds what nobody wrote there: {error}; {RECOVER}, with --force where it can be read in part"
    if is_damage(error):
        return f"cannot be used: {error}; {RECOVER}"
    if _code_of(error) in BUSY:
        return f"is held by another process: {error}; wait for it to end, and try again"
    if _code_of(error) in NOT_WRITABLE or getattr(error, "errno", None) in NO_ROOM_OR_RIGHT:
        return f"cannot be used: {error}; {MAKE_ROOM}"
    return f"cannot be used: {error}"


def is_damage(error: Exception) -> bool:
    """A file that is no database, or no longer one."""
    return isinstance(error, UnicodeDecodeError) or _code_of(error) in DAMAGED


def _code_of(error: Exception) -> int:
    """SQLite's primary code; 0 for an error of the system."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
