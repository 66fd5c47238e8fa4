"""Verification: suites a role, the all-pairs probe of the fabric, and why a pair is open or closed."""
