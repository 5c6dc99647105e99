from __future__ import annotations

from decimal import Decimal, InvalidOperation

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ValidationError


def exact(value: object) -> Decimal:
    """A float becomes the shortest decimal that reads back as that float. Raises ``ValidationError``."""
    try:
        number = Decimal(float.__repr__(value) if isinstance(value, float) else value)  # type: ignore[arg-type]
    except (InvalidOperation, TypeError, ValueError) as error:
        raise ValidationError(f"{value!r} is not a number") from error
    if number.is_snan():
        raise ValidationError(f"{value!r} is not a number")
    return number


@frozen(order=True, repr=False)
class Price:
    """Exact, positive and finite, in the currency of the listing. Raises ``ValidationError``."""

    value: Decimal = field(converter=exact)

    @value.validator
    def _positive(self, _: object, value: Decimal) -> None:
        if not value.is_finite() or value <= 0:
            raise ValidationError(f"a price is positive and finite, not {value}")

    def __float__(self) -> float:
        return float(self.value)

    def __str__(self) -> str:
        return str(self.value)

    def __repr__(self) -> str:
        return f"Price('{self.value}')"
