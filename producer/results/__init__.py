"""Results: pictures and records as files that people use."""
