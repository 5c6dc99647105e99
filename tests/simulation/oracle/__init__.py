"""The oracle: holds the product to its promises after each step of a story, by what the ledger and the disk show."""
