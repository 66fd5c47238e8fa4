"""A headless browser that accepts exactly the certificates it is given, and is held to their keys."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def public_key_hash(certificate: str) -> str:
    """SHA-256 of a certificate's public key, base64."""
    key = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    digest = hashes.Hash(hashes.SHA256())
    digest.update(
        key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return base64.b64encode(digest.finalize()).decode()


def started(profile: Path, certificate: str = "") -> Chrome:
    """A browser with a profile of its own that accepts this certificate (PEM), if one is given."""
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    accepted = (
        [f"--ignore-certificate-errors-spki-list={public_key_hash(certificate)}"] if certificate else []
    )
    own = (f"--user-data-dir={profile}", *accepted)
    for flag in (*FLAGS, *own):
        options.add_argument(flag)
    browser = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    browser.set_page_load_timeout(60)
    return browser
