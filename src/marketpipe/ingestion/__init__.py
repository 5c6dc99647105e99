"""The ingestion context, the core: plans what is missing, requests it and records what was done."""
