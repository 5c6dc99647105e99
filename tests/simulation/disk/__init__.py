"""A disk in memory that loses what is not synced: ``ModelledDisk`` in ``model.py`` is what a world has."""

from __future__ import annotations
