"""Mutants: the product with one mistake each, which the simulated world has to find."""
