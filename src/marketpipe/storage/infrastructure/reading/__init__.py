"""Stored bars for callers: loaded, compared for an audit, and queried with SQL."""
