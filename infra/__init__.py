"""Provisioning: the estate, its derivations, the engine, the provider and its drivers."""

import os

# The engine's side of this process runs gRPC threads, and later steps start programs. gRPC's handlers around
# fork() write into the child's output and break it; children here always exec at once and need none of them.
# gRPC reads this when it is first imported, so it stands before everything else.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
