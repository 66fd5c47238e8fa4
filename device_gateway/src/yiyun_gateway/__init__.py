"""Device gateway: raw bytes on disk before the acknowledgement, forwarded once."""
