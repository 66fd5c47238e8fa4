"""Procedures, and the drills that rehearse them."""
