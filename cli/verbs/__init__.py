"""Verbs of the command line, grouped by what they touch."""
