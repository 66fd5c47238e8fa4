"""Trust: the estate's secrets, its certificate authority, its keys."""
