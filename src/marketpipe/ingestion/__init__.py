"""The core: what is wanted, what is missing, what is done."""
