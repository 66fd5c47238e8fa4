"""Estates that ship with yiyun: `lab` on one machine, `yucheng` on JD Cloud."""
