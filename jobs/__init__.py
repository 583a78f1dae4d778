"""What a blend job is, how it may change, and where it is kept. Imports nothing of ours."""
