"""The integration context: how market data providers are reached. No other context knows their APIs."""
