"""`yiyun status`, `verify`, `why`, `ssh`, `logs`: looking without touching."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.contract import EstateOption, JsonOption, QuietOption, Report, reporting
from infra.errors import BadInputError, YiyunError
from infra.reach import run_on, ssh_argv
from infra.services.catalogue import services_of
from infra.status import Status, collect
from infra.verify.run import verify as run_verify
from infra.verify.why import explain
from monitoring.look import monitoring_status
from runbooks.drills.ran import newest_runs

WAYS_BACK = ("remote-backup", "region-loss")
"""Drills that a status screen names."""


def status(estate: EstateOption = "lab", json_output: JsonOption = False, quiet: QuietOption = False) -> None:
    """One screen: hosts, database, line, platform, monitoring. Exit 1 when something is wrong."""
    with reporting("status", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        with report.progress() as progress:
            now = collect(loaded, report.paths, progress, monitoring_status)
        report.fields |= now.fields | {"drills": rehearsed(report)}
        show_status(report, now)
        show_drills(report, report.fields["drills"])
        report.exit_code = 0 if now.ok else 1


def rehearsed(report: Report) -> list[dict[str, Any]]:
    """The newest run of each drill, its verdict computed anew from its evidence."""
    return [
        {"drill": r.drill, "at": r.at.isoformat(timespec="seconds"), "verdict": r.verdict, "rto_s": r.rto_s}
        for r in newest_runs(report.paths)
    ]


def show_drills(report: Report, runs: list[dict[str, Any]]) -> None:
    """How many passed when they were run last, and when the way back was gone."""
    passed = sum(run["verdict"] == "passed" for run in runs)
    report.say(f"drills     {passed} of {len(runs)} passed when they were run last")
    for run in runs:
        if run["drill"] in WAYS_BACK:
            taken = "" if run["rto_s"] is None else f", served after {run['rto_s']:.0f} s"
            report.say(f"           {run['drill']} {run['verdict']} on {run['at'][:10]}{taken}")


def verify(
    estate: EstateOption = "lab",
    probe: Annotated[bool, typer.Option(help="The all-pairs probe.")] = True,
    checks: Annotated[bool, typer.Option(help="The checks of every role.")] = True,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Prove it: every check of every role, and every port of every pair of hosts."""
    with reporting("verify", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        with report.progress() as progress:
            result = run_verify(loaded, report.paths, probe=probe, suites=checks, progress=progress)
        report.fields |= result.as_json()
        report.say(result.summary)
        for failure in result.failures:
            report.say(f"[red]failed[/] {failure}")
        report.exit_code = 0 if result.ok else 1


def why(
    source: Annotated[str, typer.Argument(help="Host that calls.")],
    destination: Annotated[str, typer.Argument(help="Host that is called.")],
    port: Annotated[int, typer.Argument(help="Port, 1 to 65535.", min=1, max=65535)],
    udp: Annotated[bool, typer.Option("--udp", help="UDP instead of TCP.")] = False,
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Why a port is open or closed: the estate's line, the declaration, the rule, its counter, the probe."""
    with reporting("why", estate, json_output, quiet) as report:
        loaded = report.load()
        protocol = "udp" if udp else "tcp"
        chain = explain(loaded, report.source, report.paths, source, destination, port, protocol)
        report.fields |= chain.as_json()
        for line in chain.as_text():
            report.say(line)


def ssh(
    host: Annotated[str, typer.Argument(help="Host to reach, through its bastion.")],
    command: Annotated[list[str] | None, typer.Argument(help="Command to run instead of a shell.")] = None,
    estate: EstateOption = "lab",
) -> None:
    """Open a shell on a host, or run one command there; its exit code is passed on."""
    with reporting("ssh", estate, as_json=False) as report:
        _known(report, host)
        argv = ssh_argv(report.paths, host, command or ())
        sys.stdout.flush()
        os.execvp(argv[0], argv)  # noqa: S606  ssh takes over the terminal


def logs(
    host: Annotated[str, typer.Argument(help="Host whose journal to read.")],
    unit: Annotated[str, typer.Option("--unit", "-u", help="Only this systemd unit.")] = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=100000)] = 100,
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Newest lines of a host's journal: of its services, or of one unit."""
    with reporting("logs", estate, json_output, quiet) as report:
        _known(report, host)
        if report.estate is None:
            raise BadInputError("no estate")
        units = [unit] if unit else [u for s in services_of(report.estate.host(host)) for u in s.units]
        argv = ["journalctl", "--no-pager", "-o", "short-iso", "-n", str(lines)]
        answer = run_on(report.paths, host, [*argv, *(x for u in units for x in ("-u", u))])
        if answer.returncode != 0:
            raise YiyunError(f"{host}: {answer.stderr.strip()}", hint="yiyun status", where=host)
        report.fields |= {"host": host, "units": units, "lines": answer.stdout.splitlines()}
        if not report.as_json:
            sys.stdout.write(answer.stdout)


def show_status(report: Report, now: Status) -> None:
    """The status screen."""
    fields = now.fields
    table = Table("host", "site", "roles", "", box=None)
    for host in fields["hosts"]:
        table.add_row(host["name"], host["site"], " ".join(host["roles"]), _mark(host["up"]))
    report.say(table)
    members = "  ".join(f"{m['name']} {m['state']}" for m in fields["mysql"]["members"])
    report.say(f"mysql      writer {fields['mysql']['writer'] or '[red]none[/]'}   {members}")
    paths = "  ".join(f"{p['name']} {_mark(p['up'])}" for p in fields["line"]["paths"])
    report.say(f"line       path {fields['line']['path'] or '[red]none[/]'}   {paths}")
    platform = "  ".join(f"{p['host']} {_mark(p['ready'])} {p['version'] or ''}" for p in fields["platform"])
    report.say(f"platform   {platform}")
    report.say(f"storage    {_storage(fields['object_storage'])}")
    if fields["oracle"]:
        report.say(f"oracle     {fields['oracle']['state']}")
    for line in _backups(fields["backups"]):
        report.say(f"backups    {line}")
    zabbix = fields["zabbix"]
    watched = f"{zabbix['hosts_monitored']} of {zabbix['hosts_expected']} hosts watched"
    report.say(f"zabbix     {_mark(zabbix['reachable'])} {watched}, {len(zabbix['problems'])} open problems")
    for open_problem in zabbix["problems"]:
        report.say(f"           {open_problem['severity']:9} {open_problem['host']}: {open_problem['name']}")
    ends = [c["not_after"] for c in fields["certificates"]]
    report.say(f"certs      {len(ends)} leaves, the first ends {min(ends) if ends else '-'}")
    if report.estate and report.estate.provider == "lab":
        report.say(f"page       https://127.0.0.1:{report.estate.lab.published.web}/")
        report.say(f"monitoring https://127.0.0.1:{report.estate.lab.published.monitoring}/")
    for problem in now.problems:
        report.say(f"[red]problem[/]    {problem}")


def _storage(buckets: list[dict[str, Any]]) -> str:
    """Mounts of buckets, and the age of their copies."""
    words: list[str] = []
    for bucket in buckets:
        words += [f"{bucket['name']} on {m['host']} {_mark(m['answers'])}" for m in bucket.get("mounts", [])]
        if bucket["copy_of"]:
            age = "[red]never completed[/]" if bucket["age_s"] is None else f"{bucket['age_s']} s old"
            words.append(f"{bucket['name']} {age}")
    return "  ".join(words) or "nothing is mounted or copied"


def _backups(found: dict[str, Any]) -> list[str]:
    """What, where, how old, and when it was last restored: the four questions of an auditor."""
    if not found["regions"]:
        return ["none: the estate has no buckets for them"]
    bases = [one for one in found["saved"] if one["what"] == "mysql"]
    others = [one for one in found["saved"] if one["what"] != "mysql"]
    behind = [max(s["behind_s"].values(), default=0.0) for s in found["log"] if s["source"]]
    newest = f"base {_age(min(one['age_s'] for one in bases))} old" if bases else "no base"
    log = f"log {min(behind):.0f} s behind" if behind else "no log"
    hosts = len({one["host"] for one in others})
    oldest = f", oldest {_age(max(one['age_s'] for one in others))} old" if others else ""
    tried = found["restored"]
    restored = (
        f"restored {_age(tried['age_s'])} ago from {tried['region']} in {tried['seconds']:.0f} s:"
        f" {'equal to its source' if tried['ok'] else 'NOT right'}"
        if tried
        else "never restored yet"
    )
    return [
        f"mysql: {newest}, {log}; {restored}",
        f"{len(others)} services on {hosts} hosts{oldest}; in {', '.join(found['regions'])}{_read(found)}",
    ]


def _read(found: dict[str, Any]) -> str:
    """How long ago the region that was read back longest ago was."""
    newest: dict[str, float] = {}
    for one in found["read_back"]:
        newest[one["region"]] = min(one["age_s"], newest.get(one["region"], one["age_s"]))
    return f"; read back {_age(max(newest.values()))} ago" if newest else ""


def _age(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.0f} h"


def _mark(good: bool) -> str:
    return "[green]up[/]" if good else "[red]down[/]"


def must_be_deployed(report: Report) -> None:
    """Refuse for an estate that was never brought up from here."""
    if not report.paths.ssh_config.exists():
        raise BadInputError("this estate was never brought up from here", hint="yiyun up")


def _known(report: Report, host: str) -> None:
    names = [h.name for h in report.load().hosts]
    if host not in names:
        raise BadInputError(f"no host {host}", hint=f"one of {', '.join(names)}")
    must_be_deployed(report)
