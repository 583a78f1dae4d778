"""Telling: what has become of jobs, for whoever follows and for webhooks."""
