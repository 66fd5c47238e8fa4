"""Backups of an estate: what is saved, asked of the agents on its hosts, and brought back."""
