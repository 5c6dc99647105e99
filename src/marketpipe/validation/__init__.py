"""Validation: what a good bar is, and which bars are kept out of the store."""
