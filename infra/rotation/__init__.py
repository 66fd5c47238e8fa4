"""The life of the estate's secrets: which there are, when each is due, and how it is replaced under load."""
