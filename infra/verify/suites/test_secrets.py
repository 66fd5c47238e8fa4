"""Secrets: every file that holds one belongs to whom it should, and no certificate is near its end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from infra.rotation.policy import rule_of

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("sshd")


def test_secret_files_have_the_declared_owner_and_mode(on: Machine) -> None:
    declared = {f.path: f for s in on.services for f in s.all_secret_files}
    found = on.shell.run(f"stat --format='%n %U %G %a' {' '.join(sorted(declared))}")
    seen = {line.split()[0]: line.split()[1:] for line in found.stdout.splitlines()}
    bad = [
        f"{path}: {' '.join(seen.get(path, ['missing']))}, declared {f.owner} {f.group} {f.mode:o}"
        for path, f in sorted(declared.items())
        if seen.get(path) != [f.owner, f.group, f"{f.mode:o}"]
    ]
    assert not bad, bad


def test_certificates_are_not_near_their_end(on: Machine) -> None:
    script = "for c in /etc/yiyun/tls/*.crt; do echo $c $(openssl x509 -in $c -noout -enddate); done"
    lines = [line.split(" notAfter=") for line in on.shell.run(script).stdout.splitlines()]
    now, short = datetime.now(UTC), list[str]()
    for path, text in lines:
        kind = "authority" if path.endswith("/ca.crt") else "certificate"
        left = datetime.strptime(text, "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC) - now
        if left.days < (rule_of(kind).alarm or 0):
            short.append(f"{path} ends in {left.days} days")
    assert lines, "no certificate at all"
    assert not short, short
