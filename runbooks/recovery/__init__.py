"""The way back when a region is gone: from the copies in the other one, and a kit that was kept apart."""
