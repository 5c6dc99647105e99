"""The validation context: the rules for bars, and the decision which bars are stored and which are rejected."""
