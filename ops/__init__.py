"""Runs blendq: the command line, the local stack, the simulated API, containers. May use all the rooms."""
