"""The steps of `up`: infrastructure, then configuration, then proof."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from infra.bundle.build import build_bundle
from infra.converge import ConvergeRequest, converge
from infra.drivers.lab.images import ensure_image
from infra.drivers.lab.machines import APPLIANCE
from infra.drivers.lab.objectstore_binary import ensure_objectstore_binary
from infra.engine.bootstrap import ensure_engine
from infra.engine.stack import Engine
from infra.errors import YiyunError
from infra.estate.plan import provisioned_hosts
from infra.steps.lab import machine, reach, realise_lab
from infra.steps.model import Context, Step
from infra.trust.material import Material
from infra.verify.run import verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.estate.model import Estate


def steps_of(estate: Estate) -> tuple[Step, ...]:
    """Steps that bring an estate from nothing to verified, in order."""
    prepare = (
        Step("machine", "what this machine must have", machine),
        Step(
            "programs",
            "the Pulumi engine and the object store: installed, downloaded or built once",
            _programs,
        ),
        Step("image", "operating systems of hosts and appliances", _image),
        Step("bundle", "packages, wheels and binaries the hosts will need", _bundle),
    )
    provision = (
        Step("trust", "the estate's authority, keys and secrets", _trust),
        Step("infrastructure", "networks, hosts, disks, balancer, buckets, by Pulumi", _infrastructure),
        Step("realise", "the lab agrees with the records: fabric, disks, hosts", realise_lab),
        Step("reach", "every host answers by SSH through its bastion", reach),
    )
    configure = (
        Step("foundation", "names, certificates, time, the line, the depot", _tier("base", "line", "depot")),
        Step("data", "MySQL: three members, one writer", _tier("data")),
        Step("platform", "the database router, the platform, the proxies", _tier("app")),
        Step("premises", "the collector and the hospital", _tier("edge", "hospital")),
    )
    prove = (Step("verify", "every check of every role, and the all-pairs probe", _verify),)
    if estate.provider != "lab":
        raise YiyunError(
            f"the provider {estate.provider} is not available yet",
            hint="use the lab: yiyun up --estate lab",
        )
    return (*prepare, *provision, *configure, *prove)


def _programs(context: Context) -> int:
    """Compile, and let what the next steps need arrive meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(_fetch_ahead, context)
        ensure_engine(context.progress)
        ensure_objectstore_binary(context.progress)
        ahead.exception()  # the step it was done for meets the same obstacle, and names it
    return 0


def _fetch_ahead(context: Context) -> None:
    for image in _images(context.estate):
        ensure_image(image, context.progress)
    build_bundle(context.progress)


def _images(estate: Estate) -> list[str]:
    return sorted({APPLIANCE, *(estate.image_of(h) for h in provisioned_hosts(estate))}, reverse=True)


def _image(context: Context) -> int:
    for image in _images(context.estate):
        ensure_image(image, context.progress)
    return 0


def _bundle(context: Context) -> int:
    context.results["bundle"] = build_bundle(context.progress)
    return 0


def _trust(context: Context) -> int:
    material = Material(context.estate, context.paths)
    before = material.store.names()
    material.passwords()
    for host in context.estate.hosts:
        material.leaves_of(host)
    material.operator_key()
    material.write_lab_certificates()
    material.write_lab_password()
    return len(set(material.store.names()) - set(before))


def _infrastructure(context: Context) -> int:
    key = Material(context.estate, context.paths).operator_key()
    result = Engine(context.estate, context.paths, context.progress, authorized_key=key).up()
    context.results["infrastructure"] = result
    return result.changed


def _tier(*tags: str) -> Callable[[Context], int]:
    def run(context: Context) -> int:
        bundle = build_bundle(context.progress)
        request = ConvergeRequest(tags=tags, extra={"yiyun_bundle": str(bundle.path)})
        return converge(context.paths, context.source, request, context.progress).changed

    return run


def _verify(context: Context) -> int:
    result = verify(context.estate, context.paths, progress=context.progress)
    context.results["verify"] = result
    if not result.ok:
        raise YiyunError(result.summary, hint="yiyun verify shows every failure")
    return 0
