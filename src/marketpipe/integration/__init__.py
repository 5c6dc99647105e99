"""How market data providers speak; no other context knows."""
