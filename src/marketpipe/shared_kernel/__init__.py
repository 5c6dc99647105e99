"""The words that every context uses: value objects, events, the bus, the errors, the trading calendar."""
