"""Pictures: kept by their content, and read with care."""
