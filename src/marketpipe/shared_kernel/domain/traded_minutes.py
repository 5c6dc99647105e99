from __future__ import annotations

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ValidationError

MINUTES_A_DAY = 960  # 04:00 to 20:00
BYTES = MINUTES_A_DAY // 8


@frozen
class TradedMinutes:
    """Which minutes of a symbol-day have a bar: bit ``i`` stands for the minute ``i`` minutes after 04:00 New York.

    ``packed`` are the bits, little-endian, trailing zeros left out. Raises ``ValidationError`` for more than a day.
    """

    packed: bytes = field()

    @packed.validator
    def _within_the_day(self, _: object, packed: bytes) -> None:
        if len(packed) > BYTES or packed[-1:] == b"\0":
            raise ValidationError(f"a day has {MINUTES_A_DAY} minutes: at most {BYTES} bytes, and no zeros at the end")

    @classmethod
    def of(cls, bits: int) -> TradedMinutes:
        return cls(bits.to_bytes(max(BYTES, (bits.bit_length() + 7) // 8), "little").rstrip(b"\0"))

    @property
    def bits(self) -> int:
        return int.from_bytes(self.packed, "little")

    def __len__(self) -> int:
        return self.bits.bit_count()

    def __repr__(self) -> str:
        return f"<{len(self)} minutes>"
