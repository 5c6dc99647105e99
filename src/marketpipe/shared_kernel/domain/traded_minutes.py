from __future__ import annotations

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ValidationError

MINUTES_A_DAY = 960  # 04:00 to 20:00
BYTES = MINUTES_A_DAY // 8


@frozen
class TradedMinutes:
    """Which minutes of a symbol-day have a bar: bit ``i`` stands for the minute ``i`` minutes after 04:00 New York.

    Raises ``ValidationError`` for minutes after 20:00.
    """

    bits: int = field()

    @bits.validator
    def _within_the_day(self, _: object, bits: int) -> None:
        if bits < 0 or bits.bit_length() > MINUTES_A_DAY:
            raise ValidationError(f"a day has {MINUTES_A_DAY} minutes, not {bits.bit_length()}")

    @classmethod
    def from_bytes(cls, packed: bytes) -> TradedMinutes:
        """Little-endian, trailing zeros left out: as ``to_bytes`` gives it."""
        return cls(int.from_bytes(packed, "little"))

    def to_bytes(self) -> bytes:
        return self.bits.to_bytes(BYTES, "little").rstrip(b"\0")

    def __len__(self) -> int:
        return self.bits.bit_count()

    def __repr__(self) -> str:
        return f"<{len(self)} minutes>"
