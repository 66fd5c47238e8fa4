"""Long trials of the backup agent on real servers, without a lab; their results are committed.

They share the beds of the agent's own tests, which are plain modules beside those.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "backup_agent" / "tests"))
