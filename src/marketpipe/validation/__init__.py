"""What a good OHLCV bar is."""
