"""`yiyun host`: machines that exist already."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.contract import EstateOption, JsonOption, QuietOption, YesOption, confirm, reporting
from infra.errors import BadInputError, RefusedError
from infra.existing import existing_hosts, fingerprint, keep_key, learnt_keys, offered_key

app = typer.Typer(help="Machines that exist already (provider: existing).", no_args_is_help=True)


@app.command("learn")
def host_learn(
    name: Annotated[str, typer.Argument(help="Host of the estate that exists already.")],
    expected: Annotated[
        str, typer.Option("--fingerprint", help="SHA256:… as the machine's own console shows it.")
    ] = "",
    yes: YesOption = False,
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show the fingerprint of a machine's host key, and believe it once it was compared."""
    with reporting("host learn", estate, json_output, quiet) as report:
        loaded = report.load()
        known = {h.name: h for h in existing_hosts(loaded)}
        if name not in known:
            names = ", ".join(known) or "none in this estate"
            raise BadInputError(f"{name} is no host that exists already", hint=f"those are: {names}")
        if known[name].access.host_key:
            raise BadInputError(f"the estate file gives {name}'s host key", hint="correct ssh.host_key there")
        paths = report.paths.ensure()
        with report.progress() as progress:
            progress(f"asking {name} for its host key")
            key = offered_key(loaded, paths, known[name])
        shown, before = fingerprint(key), learnt_keys(paths).get(name, "")
        report.fields |= {"host": name, "fingerprint": shown, "host_key": key, "changed": key != before}
        if expected and expected != shown:
            raise RefusedError(
                f"{name} shows {shown}, not {expected}", hint="somebody else may be answering: do not go on"
            )
        if before and before != key and not expected:
            raise RefusedError(
                f"{name} showed {fingerprint(before)} before and shows {shown} now",
                hint=f"if it was reinstalled, read the new one at its console: --fingerprint {shown}",
            )
        if not expected and key != before:
            confirm(report, f"{name} shows {shown}. Is that what its console says?", yes=yes, destroys=True)
        keep_key(paths, name, key)
        report.say(f"{name}: {shown}")
