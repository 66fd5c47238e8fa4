"""Drift: the state a converge left on every host, what it is now, and what puts it right."""
