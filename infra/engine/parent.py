"""Dying with one's parent, so that nothing we started outlives a killed run."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal the kernel sends this process when the thread that started it ends."""

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(death: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel end this process when its parent ends, however the parent ends (Linux only).

    `death`: the signal it gets; SIGTERM for a program that has children of its own to end.
    Safe as a `preexec_fn`: it allocates nothing and takes no lock.
    """
    parent = os.getppid()
    _libc.prctl(_PR_SET_PDEATHSIG, death, 0, 0, 0)
    if os.getppid() != parent:  # the parent ended before the call
        os._exit(1)
