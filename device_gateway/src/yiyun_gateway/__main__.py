"""`python -m yiyun_gateway` is the command itself (the main process starts its worker this way)."""

import sys

from yiyun_gateway.command import main

sys.exit(main())
