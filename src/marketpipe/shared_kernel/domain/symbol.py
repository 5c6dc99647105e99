from __future__ import annotations

import re
from collections.abc import Iterable
from operator import attrgetter

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ValidationError

MAX_LENGTH = 20
_FORM = re.compile(r"[A-Z0-9](?:[A-Z0-9.\-]*[A-Z0-9])?")


@frozen(order=True, repr=False)
class Symbol:
    """Upper-case ASCII letters, digits, dots and hyphens, at most 20, a letter or digit at both ends.

    Nothing that this class accepts can leave a path or end a URL's component. Raises ``ValidationError``.
    """

    value: str = field()

    @value.validator
    def _well_formed(self, _: object, value: object) -> None:
        if not isinstance(value, str) or len(value) > MAX_LENGTH or not _FORM.fullmatch(value) or ".." in value:
            raise ValidationError(
                f"{str(value)[:40]!r} is not a symbol: 1 to {MAX_LENGTH} upper-case letters, digits, "
                "single dots or hyphens, such as AAPL or BRK.B"
            )

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:
        return f"Symbol({self.value!r})"


def as_symbols(values: str | Symbol | Iterable[str | Symbol]) -> tuple[Symbol, ...]:
    """Sorted, without repeats; a single one may be given bare."""
    listed = [values] if isinstance(values, (str, Symbol)) else values
    distinct = {value if isinstance(value, Symbol) else Symbol(value) for value in listed}
    return tuple(sorted(distinct, key=attrgetter("value")))
