"""How OHLCV bars lie on disk and come back."""
