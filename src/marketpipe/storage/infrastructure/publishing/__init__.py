"""Files that are written durably: a temporary name, sync, rename, and a record of their digests."""
