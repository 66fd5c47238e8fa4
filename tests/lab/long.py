"""Tests that take minutes each: with `YIYUN_TEST_LONG=1 make test` only, so that every run stays short."""

from __future__ import annotations

import os

import pytest

LONG = os.environ.get("YIYUN_TEST_LONG", "") not in ("", "0")
long = pytest.mark.skipif(not LONG, reason="takes minutes: YIYUN_TEST_LONG=1 runs it")
