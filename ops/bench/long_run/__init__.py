"""Long runs: a campaign as large as you like through the whole stack, with what it takes over time."""
