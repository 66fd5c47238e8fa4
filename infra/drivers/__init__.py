"""Drivers: what carries out a resource, in the lab, on JD Cloud, or on machines that exist."""
