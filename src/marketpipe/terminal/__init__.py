"""How reports and progress are printed: as text, as tables and as JSON. Only the command line uses it."""
