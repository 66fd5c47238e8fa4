"""Runs one command for the stopwatch, and notes what a stopwatch does not see. Standard library only.

`python step.py NOTE COMMAND…`: the note has its answer (the last line of standard output), when each line of
its standard error came, and the memory of the largest process below it. Ends as the command ended.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

KIB_PER_MIB = 1024


def main() -> int:
    """Entry point."""
    note, *argv = sys.argv[1:]
    began = time.monotonic()
    with Path(f"{note}.out").open("w+", encoding="utf-8") as out:
        running = subprocess.Popen(argv, stdout=out, stderr=subprocess.PIPE, text=True)
        lines = [[round(time.monotonic() - began, 3), line.rstrip("\n")] for line in running.stderr or ()]
        code = running.wait()
        out.seek(0)
        answer = out.read().strip().rpartition("\n")[2]
    told = {
        "code": code,
        "seconds": round(time.monotonic() - began, 3),
        "lines": lines,
        "answer": answer,
        "largest_process_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // KIB_PER_MIB,
    }
    Path(note).write_text(json.dumps(told), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
