"""Endurance: kill the toolkit at random moments, and hold what the next run leaves against a clean run."""
