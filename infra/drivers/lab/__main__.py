"""For developers of the lab driver: `python -m infra.drivers.lab up|stop|remove|status --estate FILE`."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from infra.drivers.lab.hosts import containers, host_public_keys
from infra.drivers.lab.realise import leftovers, realise, remove, stop
from infra.drivers.lab.records import Records
from infra.drivers.lab.settings import settings_of, write_settings
from infra.errors import YiyunError
from infra.estate.loading import load_estate
from infra.estate.plan import plan_resources
from infra.paths import EstatePaths
from infra.resources import KINDS
from infra.trust.material import Material

if TYPE_CHECKING:
    from infra.estate.model import Estate


def main() -> int:
    """Entry point: records written from the estate file directly, without the engine."""
    parser = argparse.ArgumentParser(prog="python -m infra.drivers.lab")
    parser.add_argument("verb", choices=["up", "stop", "remove", "status"])
    parser.add_argument("--estate", default="lab")
    arguments = parser.parse_args()
    try:
        return _act(arguments.verb, arguments.estate)
    except YiyunError as error:
        _say(f"{error.message}\n  {error.hint}")
        return error.exit_code


def _act(verb: str, name: str) -> int:
    started = time.monotonic()
    estate = load_estate(name)
    paths = EstatePaths(estate.estate)
    if verb == "status":
        _status(paths)
        return 0
    if verb == "up":
        _record(estate, paths)
        changed = realise(paths, _say).changed
    else:
        changed = (stop if verb == "stop" else remove)(paths, _say)
    for line in changed:
        _say(line)
    _say(f"{len(changed)} changed in {time.monotonic() - started:.1f} s")
    return 0


def _record(estate: Estate, paths: EstatePaths) -> None:
    material = Material(estate, paths.ensure())
    material.write_lab_certificates()
    planned = plan_resources(estate, authorized_key=material.operator_key())
    records = Records(paths.records)
    for kind in KINDS:
        wanted = {p.inputs.name for p in planned if p.kind == kind}
        for path in (paths.records / kind).glob("*.json"):
            if path.stem not in wanted:
                records.delete(kind, path.stem)
    for item in planned:
        records.write(item.kind, item.inputs)
    write_settings(paths, settings_of(estate))


def _status(paths: EstatePaths) -> None:
    for container in containers(paths.estate).values():
        _say(f"{container.name}: {container.state}")
    for host, key in host_public_keys(paths).items():
        _say(f"{host}: {key}")
    for line in leftovers(paths.estate):
        _say(line)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    raise SystemExit(main())
