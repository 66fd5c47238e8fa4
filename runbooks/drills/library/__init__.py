"""Drills that come with yiyun, a file each; `catalogue` reads them and those of a person's own folder."""
