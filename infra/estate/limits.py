"""How much one client may ask of the estate's public door, and why. Balancer and proxies follow it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

TLS12_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption, as TLS 1.3 always has. OpenSSL's words."""


@dataclass(frozen=True)
class EdgeLimits:
    """Limits for one source address unless said otherwise. A hospital's whole staff may share one address."""

    requests_per_second: int = 500
    """Two hundred desks that load a page of fifteen files every six seconds."""
    requests_window_s: int = 10
    """The balancer counts over this time, so a burst of a page or two is never noticed."""
    connections: int = 300
    """Open at a time. A browser opens six by HTTP/1.1, one by HTTP/2."""
    connections_per_second: int = 50
    """New ones: each costs a TLS handshake, the dearest thing a stranger can ask for without an account."""
    connections_window_s: int = 3
    all_connections: int = 4000
    """Of all sources together: half of what the balancer has descriptors and memory for, so that it can still
    answer those it refuses."""
    sources: int = 100_000
    """Addresses remembered, some hundred bytes each; the oldest is forgotten first."""
    header_seconds: int = 10
    """For a whole request head, and for a body that fits the buffer. A slow client sends one in two."""
    idle_seconds: int = 30
    """Between two requests of a connection."""
    stall_seconds: int = 30
    """Without one byte, inside a request or an answer."""
    header_fields: int = 60
    """Browsers send twenty, with tracing headers thirty."""
    body_bytes: int = 10 * 1024 * 1024
    """A scanned report; images come by another way."""
    streams: int = 64
    """Requests of one HTTP/2 connection at a time."""
    per_proxy: int = 400
    """Requests under way at one proxy: more wait at the balancer, where they cost least."""

    def as_variables(self) -> dict[str, int]:
        """What the inventory carries to the proxies."""
        return asdict(self)


EDGE = EdgeLimits()
