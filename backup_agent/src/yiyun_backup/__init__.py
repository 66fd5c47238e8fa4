"""Backup agent: keeps copies of a host's data somewhere else, and brings them back."""
