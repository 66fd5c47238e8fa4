"""Provisioning: the estate, its derivations, the engine, the provider and its drivers."""
