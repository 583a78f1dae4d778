"""The Midjourney proxy API, simulated: a server of its own, with its own ledger and faults on demand.

It stands in for somebody else's server, so it shares no code with the client that it tests.
"""
