from __future__ import annotations

from attrs import frozen


@frozen
class RefreshCount:
    """Aggregate files ``written`` anew and those ``unchanged`` because they agree with their minutes.

    ``failures`` says of each symbol that could not be aggregated to the end what is wrong.
    """

    written: int
    unchanged: int
    failures: tuple[str, ...] = ()

    def __add__(self, other: RefreshCount) -> RefreshCount:
        return RefreshCount(
            self.written + other.written, self.unchanged + other.unchanged, self.failures + other.failures
        )
