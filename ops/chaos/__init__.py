"""Fault runs: the real stack as processes, faults drawn from a seed, a verdict by the simulated API's own ledger."""
