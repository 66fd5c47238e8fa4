"""The mount of attachments: it is the bucket, not a bare folder, and its key can do no more than it must."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from infra.estate.endpoints import endpoints
from infra.services.storage import ATTACHMENTS, OBJECT_STORAGE
from infra.verify.suites.doors import MAX_DAYS, MIN_DAYS_LEFT, REFUSALS, knocked

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("object-mount")

FOLDER = "/srv/attachments"
SETTINGS = "/etc/yiyun-attachments/rclone.conf"
DAY_S = 86400


def near(on: Machine) -> str:
    """The endpoint of the bucket's region."""
    region = next(b.region for b in on.estate.buckets if b.name == ATTACHMENTS)
    return f"{OBJECT_STORAGE.name}:{region}"


def test_folder_is_the_bucket(on: Machine) -> None:
    mount = on.facts["mounts"].get(FOLDER)
    assert mount, f"{FOLDER} is not a mount"
    assert (mount["source"], mount["type"]) == (f"store:{ATTACHMENTS}", "fuse.rclone")


def test_folder_answers_in_time(on: Machine) -> None:
    listed = on.shell.run(f"timeout 10 ls {FOLDER}")
    assert listed.rc == 0, listed.stderr.strip()[-200:] or "no answer within 10 s"


def test_nobody_can_write_into_the_bare_folder_below_the_mount(on: Machine) -> None:
    below = on.shell.run(f"unshare --mount sh -c 'umount -l {FOLDER} && stat -c %a:%U {FOLDER}'")
    assert below.stdout.strip() == "0:root", below.stdout + below.stderr


def test_endpoint_proves_itself_by_the_estates_authority(on: Machine) -> None:
    answer = knocked(on, near(on))
    assert answer["version"] in {"TLSv1.2", "TLSv1.3"}, answer["version"]
    assert "estate authority" in answer["issuer"], answer["issuer"]
    days = (answer["not_after"] - on.facts["now"]) / DAY_S
    assert MIN_DAYS_LEFT < days < MAX_DAYS, f"the certificate ends in {days:.0f} days"


def test_endpoint_refuses_callers_without_a_key(on: Machine) -> None:
    assert knocked(on, near(on))["status"] in REFUSALS


ATTEMPTS = {
    "delete an object": ("DELETE", f"/{ATTACHMENTS}/.yiyun-refused"),
    "delete a version": ("DELETE", f"/{ATTACHMENTS}/.yiyun-refused?versionId=01ARZ3NDEKTSV4RRFFQ69G5FAV"),
    "stop keeping versions": ("PUT", f"/{ATTACHMENTS}?versioning="),
    "change who may do what": ("DELETE", f"/{ATTACHMENTS}?policy="),
    "read another bucket": ("GET", "/backups?list-type=2"),
    "make a bucket": ("PUT", "/yiyun-refused"),
}


BODIES = {
    "stop keeping versions": "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"
}
"""What a request needs to be judged by who sends it, and not by its form."""


@pytest.mark.parametrize("what", list(ATTEMPTS))
def test_key_can_do_no_more_than_it_must(on: Machine, what: str) -> None:
    method, path = ATTEMPTS[what]
    assert asked(on, method, path, BODIES.get(what, "")) == "403", what
    assert asked(on, "GET", f"/{ATTACHMENTS}?list-type=2&max-keys=1") == "200", "the key is good for nothing"


def asked(on: Machine, method: str, path: str, body: str = "") -> str:
    """Status of a request with the mount's own key, which goes from its file to curl by standard input."""
    endpoint = next(e for e in endpoints(on.estate) if e.name == near(on))
    url = f"https://{endpoint.host_name}:{endpoint.service.port('s3').number}{path}"
    lines = f'url = "{url}"\nrequest = "{method}"\naws-sigv4 = "aws:amz:{endpoint.region}:s3"\n'
    lines += 'cacert = "/etc/yiyun/tls/ca.crt"\nsilent\noutput = "/dev/null"\nwrite-out = "%{http_code}"\n'
    lines += f'data = "{body}"\nheader = "Content-Type: application/xml"\n' if body else ""
    key = r's/^secret_access_key = \(.*\)$/user = "attachments-app:\1"/p'
    command = f"{{ printf %s {shlex.quote(lines)}; sed -n {shlex.quote(key)} {SETTINGS}; }} | curl --config -"
    return str(on.shell.run(command).stdout)


def test_key_is_a_file_for_root_only_and_in_no_command_line(on: Machine) -> None:
    assert on.facts["files"][SETTINGS]["mode"] == 0o600
    key = on.shell.run(f"sed -n 's/^secret_access_key = //p' {SETTINGS}").stdout.strip()
    assert len(key) >= 40
    seen = on.shell.run("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'").stdout
    others = [line for line in seen.splitlines() if key in line and "sed" not in line]
    assert not others, f"the key stands in {shlex.quote(others[0][:40])}…"
