"""Files of a store in immutable objects of a bucket, which a catalog in the state points to."""
