"""Manifests: rows from CSV, JSONL, YAML and folders."""
