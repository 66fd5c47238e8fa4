"""One folder that brings an estate up where no registry answers: made, held to its signature, taken over.

It holds the hosts' bundle, the root file systems of hosts and appliances, the programs built from source,
and what the control machine itself needs. `use` puts all of it where `yiyun up` looks first, the caches.
"""
