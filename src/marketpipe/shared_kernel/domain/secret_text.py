"""Text that must not be shown."""

from __future__ import annotations

from typing import Any, NoReturn


class SecretText(str):
    """Text that no dump shows: its repr is ``'***'``, also inside other objects, and it cannot be pickled.

    It stays a ``str``, so that libraries take it; ``str()`` and string operations do show it.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __copy__(self) -> SecretText:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> SecretText:
        return self

    def __reduce_ex__(self, _: object) -> NoReturn:
        raise TypeError("a secret cannot be pickled: pickling would write it to a file or a pipe")
