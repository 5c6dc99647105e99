from __future__ import annotations


class Event:
    """A fact in the past tense. Subclasses are frozen and are never changed once published."""
