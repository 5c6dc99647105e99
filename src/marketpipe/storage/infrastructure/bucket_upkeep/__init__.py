"""What keeps a bucket in order: snapshots of the catalog, the collection of orphans, and a catalog made of objects."""
