"""County health platform: residents, their results, and the pages that show them."""

from importlib.metadata import version as _version

__version__ = _version("yiyun-app")
