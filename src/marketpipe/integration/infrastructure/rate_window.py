from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, gt

LONGEST_PAUSE = 300.0


@frozen
class RateWindow:
    """At most ``limit`` requests in any ``seconds``."""

    limit: int = field(validator=ge(1))
    seconds: float = field(default=60.0, validator=gt(0))
