"""Aggregates: when they are fresh, and how DuckDB makes them from minutes."""
