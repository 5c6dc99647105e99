"""Months whose day files are one file: its format, and how days are found in it."""
