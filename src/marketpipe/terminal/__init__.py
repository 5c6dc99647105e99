"""How results and progress look on a terminal, or as JSON. Only the command line uses it."""
