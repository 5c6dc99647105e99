"""Whether a store is complete: one verdict for each symbol and session, with its evidence. See docs/adr/0008."""
