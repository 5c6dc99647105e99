"""The whole product in one process under one seed: every fault that the world has, against a ledger of what was said.

``python -m tests.simulation --seed N`` replays a seed. See docs/explanation/simulation.md.
"""
