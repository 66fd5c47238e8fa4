"""The steps of `up`: infrastructure, then configuration, then proof."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from infra.bundle.build import build_bundle
from infra.drivers.lab.images import ensure_image
from infra.drivers.lab.machines import APPLIANCE
from infra.drivers.lab.objectstore_binary import ensure_objectstore_binary
from infra.engine.bootstrap import ensure_engine
from infra.engine.stack import Engine
from infra.errors import YiyunError
from infra.estate.plan import provisioned_hosts
from infra.steps.converging import look, tier
from infra.steps.lab import machine, reach, realise_lab
from infra.steps.model import Context, Step
from infra.steps.proving import prove
from infra.trust.material import Material

if TYPE_CHECKING:
    from infra.estate.model import Estate
    from infra.status import AskMonitoring


def steps_of(
    estate: Estate, *, monitored: Step, deposited: Step, heard: Step, zabbix: AskMonitoring
) -> tuple[Step, ...]:
    """Steps that bring an estate from nothing to verified, in order.

    `monitored`, `heard`: the layer above fills Zabbix, and waits for its agents. Between the two other work
    is done: an agent that was refused asks again only after a minute. `deposited`: it keeps the estate's own
    state where the backups are.
    `zabbix`: how that layer asks the monitoring.
    """
    bundle = Step("bundle", "packages, wheels and binaries the hosts will need", _bundle)
    configure = (
        Step("survey", "what differs on the hosts; what nobody declared is taken away", look),
        Step("foundation", "names, certificates, time, the line, the depot", tier("base", "line", "depot")),
        Step("data", "MySQL: three members, one writer", tier("data")),
        Step("storage", "attachments: the bucket, mounted, and its copy far away", tier("storage")),
        Step("platform", "the database router, the platform, the proxies", tier("app")),
        Step("premises", "the collector and the hospital", tier("edge", "hospital")),
        Step("zabbix", "monitoring's database, server, pages, proxy and agents", tier("zabbix")),
        monitored,
        Step("hardening", "what a host offers, records and refuses", tier("hardening")),
        # After it: what it records is saved too, and the first time at once.
        Step("backups", "what hosts keep, and the database's log, into both regions", tier("backup")),
        deposited,
        heard,
    )
    proof = (Step("verify", "every check of every role, and the all-pairs probe", partial(prove, zabbix)),)
    if estate.provider != "lab":
        raise YiyunError(
            f"the provider {estate.provider} is not available yet",
            hint="use the lab: yiyun up --estate lab",
        )
    return (*prepare_steps(), bundle, *provision_steps(), *configure, *proof)


def prepare_steps() -> tuple[Step, ...]:
    """What the machine needs that runs yiyun, whatever the hosts are installed from."""
    return (
        Step("machine", "what this machine must have", machine),
        Step(
            "programs",
            "the Pulumi engine and the object store: installed, downloaded or built once",
            _programs,
        ),
        Step("image", "operating systems of hosts and appliances", _image),
    )


def provision_steps() -> tuple[Step, ...]:
    """From the estate's file to hosts that answer."""
    return (
        Step("trust", "the estate's authority, keys and secrets", _trust),
        Step("infrastructure", "networks, hosts, disks, balancer, buckets, by Pulumi", _infrastructure),
        Step("realise", "the lab agrees with the records: fabric, disks, hosts", realise_lab),
        Step("reach", "every host answers by SSH through its bastion", reach),
    )


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
    if "bundle" not in context.results:
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
        material.host_secrets(host)
    material.operator_key()
    material.write_lab_certificates()
    material.write_lab_password()
    return len(set(material.store.names()) - set(before))


def _infrastructure(context: Context) -> int:
    key = Material(context.estate, context.paths).operator_key()
    result = Engine(context.estate, context.paths, context.progress, authorized_key=key).up(full=context.full)
    context.results["infrastructure"] = result
    return result.changed
