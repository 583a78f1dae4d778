"""Slots at the API: which jobs go next, and how many at once."""
