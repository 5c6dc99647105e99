"""The table of a store in a bucket that other programs read: which objects it has, and its log."""
