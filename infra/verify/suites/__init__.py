"""Checks of every role on the running hosts, by pytest-testinfra; `yiyun verify` runs them."""
