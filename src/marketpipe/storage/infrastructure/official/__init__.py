"""The exchange's official days: their files and versions, their check, and days merged from both sources."""
