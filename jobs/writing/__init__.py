"""Writing: what is done to records, as the scripts in jobs/lua take it."""
