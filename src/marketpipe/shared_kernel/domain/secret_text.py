from __future__ import annotations

from typing import Any, NoReturn


class SecretText(str):
    """Text that a dump does not show: its repr is ``'***'``, also in what holds it, and it cannot be pickled."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __copy__(self) -> SecretText:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> SecretText:
        return self

    def __reduce_ex__(self, _: object) -> NoReturn:
        raise TypeError("a secret cannot be pickled: it would be written somewhere")
