"""Which files exist: for planning and coverage, and for checks that read them to the last byte."""
