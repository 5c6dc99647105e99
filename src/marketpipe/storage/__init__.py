"""The storage context: writes, reads, aggregates and queries OHLCV bars on disk."""
