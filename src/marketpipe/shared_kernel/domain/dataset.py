from __future__ import annotations

from attrs import frozen


@frozen
class DatasetIdentity:
    """What may share a folder: bars of another provider, feed or adjustment are another dataset."""

    provider: str
    feed: str
    adjustment: str

    def __str__(self) -> str:
        return f"provider {self.provider}, feed {self.feed}, adjustment {self.adjustment}"
