"""The backup agent beside rclone, restic and mysqldump, over the same bytes, in one run.

`python -m tests.backup_benchmark --gib 2 --out docs/results/backup-benchmark-2g.json`. Real servers on this
machine, no lab. It is a command and not a test: its result is committed with commit, machine and seed.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "backup_agent" / "tests"))  # its kits of servers and stores
