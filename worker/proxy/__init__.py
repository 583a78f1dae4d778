"""The only room that knows the API: what is sent to it, and what its answers mean."""
