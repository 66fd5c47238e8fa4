"""The estate's stack: preview, up, drift and destroy by the Automation API, with the engine's own errors."""

from __future__ import annotations

import json
import re
import socket
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import psutil
from pulumi import automation

from infra.drivers.registry import driver_for_preview, driver_named
from infra.engine.changes import Change, DestroyResult, Preview, UpResult
from infra.engine.deployment import (
    Deployment,
    Held,
    hold_protected,
    known_resources,
    resolve_pending,
    unprotect,
)
from infra.engine.drift import drift_of
from infra.engine.events import Watcher
from infra.engine.lock import WAIT_SECONDS, estate_lock
from infra.engine.workspace import open_workspace
from infra.errors import BadInputError, RefusedError, YiyunError
from infra.estate.plan import PlannedResource, plan_resources
from infra.program import PROJECT, register
from infra.provider.hosting import ATTACH_VARIABLE, hosted
from infra.provider.plugin import EstateProvider
from infra.resources import PROTECTED_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from infra.estate.model import Estate
    from infra.paths import EstatePaths


@dataclass
class Engine:
    """One estate's stack. `authorized_key`: the operators' public SSH key (OpenSSH format)."""

    estate: Estate
    paths: EstatePaths
    progress: Callable[[str], None]
    authorized_key: str = ""
    wait_seconds: float = WAIT_SECONDS
    """How long `up` and `destroy` wait for another run on the same estate."""
    _stack: automation.Stack | None = field(default=None, init=False, repr=False)

    def preview(self) -> Preview:
        """What `up` would change, seen against the resources as they are. Changes nothing."""
        stack, (planned, held) = self._open(), self._plan()
        watcher = Watcher(self._adoptable(planned))
        self._run(
            watcher,
            lambda: stack.preview(
                program=self._program(planned),
                on_event=watcher.event,
                refresh=True,
                color="never",
                suppress_outputs=True,
            ),
        )
        return Preview(
            (*watcher.changes(), *(_held_change(h) for h in held if h.properties)),
            tuple(h.logical_name for h in held),
        )

    def up(self) -> UpResult:
        """Make the resources agree with the estate, from wherever the last run left them.

        Raises RefusedError when a protected resource would have to be replaced (nothing is changed then),
        YiyunError when a resource cannot be made (a second `up` goes on from there).
        """
        driver_named(self.estate.provider, self.paths)
        with self._locked("up"):
            stack, (planned, held) = self._open(), self._plan()
            self._refuse_replacement(held)
            watcher = Watcher(self._adoptable(planned), self.progress)
            self._run(
                watcher,
                lambda: stack.up(
                    program=self._program(planned),
                    on_event=watcher.event,
                    refresh=True,
                    color="never",
                    suppress_outputs=True,
                ),
            )
        return UpResult(
            dict(Counter(c.action for c in watcher.changes())), tuple(h.logical_name for h in held)
        )

    def read_drift(self) -> Preview:
        """How the resources differ from the estate, read from the driver without running the engine."""
        driver = driver_named(self.estate.provider, self.paths)
        planned, held = self._plan() if self._exists() else (self._planned(), ())
        return Preview(drift_of(planned, driver), tuple(h.logical_name for h in held))

    def plan_destroy(self, include: Sequence[str] = ()) -> Preview:
        """What `destroy` would remove, and in `protected` what it would leave. Changes nothing.

        `include`: logical (or physical) names of protected resources to remove too.
        Raises BadInputError for a name that is not a protected resource's.
        """
        deployment = self._deployment()
        names = chosen_names(deployment, include)
        keeps = kept(deployment, names)
        return Preview(
            tuple(
                Change(k.logical_name, k.kind, "delete")
                for k in reversed(known_resources(deployment))
                if k.logical_name not in keeps
            ),
            tuple(k.logical_name for k in known_resources(deployment) if k.logical_name in keeps),
        )

    def destroy(self, include: Sequence[str] = ()) -> DestroyResult:
        """Remove the resources, except protected ones that `include` does not name.

        What stays keeps its place in the state, so the next `up` takes it over as it is.
        """
        driver_named(self.estate.provider, self.paths)
        with self._locked("destroy"):
            stack = self._open()
            before = self._deployment()
            names = chosen_names(before, include)
            if names:
                self._import(unprotect(before, names))
            watcher = Watcher(frozenset(), self.progress)
            self._run(
                watcher,
                lambda: stack.destroy(
                    on_event=watcher.event,
                    refresh=True,
                    exclude_protected=True,
                    color="never",
                    suppress_outputs=True,
                ),
            )
            retained = tuple(k.logical_name for k in known_resources(self._deployment()))
        removed = (k.logical_name for k in known_resources(before))
        return DestroyResult(tuple(n for n in removed if n not in retained), retained)

    def outputs(self) -> dict[str, Any]:
        """`hosts` and `elastic_ips`, each name → address, as the last `up` left them."""
        return {name: output.value for name, output in self._open().outputs().items()}

    def _locked(self, command: str) -> Any:
        return _Recovered(self, command)

    def _open(self) -> automation.Stack:
        if self._stack is None:
            workspace = open_workspace(self.paths, self.estate.state, self.progress)
            if not self.estate.state and self._checkpoint.exists():
                workspace.select_stack = _selected  # every command names its stack: one engine start less
            self._stack = automation.Stack.create_or_select(self.estate.estate, workspace)
        return self._stack

    def _exists(self) -> bool:
        return bool(self.estate.state) or self._checkpoint.exists()

    @property
    def _checkpoint(self) -> Path:
        return self.paths.pulumi / ".pulumi" / "stacks" / PROJECT / f"{self.estate.estate}.json"

    def _deployment(self) -> Deployment:
        """The engine's state; read from the local backend's file where that is the backend (0.2 s sooner)."""
        if not self.estate.state and self._checkpoint.exists():
            checkpoint = json.loads(self._checkpoint.read_text(encoding="utf-8"))["checkpoint"]
            return cast("Deployment", checkpoint.get("latest") or {})
        return cast("Deployment", self._open().export_stack().deployment or {})

    def _import(self, deployment: Deployment) -> None:
        state, stack = automation.Deployment(version=3, deployment=deployment), self._open()
        self._past_stale_locks(lambda: stack.import_stack(state))

    def _planned(self) -> tuple[PlannedResource, ...]:
        return plan_resources(self.estate, self.authorized_key)

    def _plan(self) -> tuple[tuple[PlannedResource, ...], tuple[Held, ...]]:
        return hold_protected(self._planned(), self._deployment())

    def _program(self, planned: Sequence[PlannedResource]) -> Callable[[], None]:
        return lambda: register(planned, driver=self.estate.provider, estate=self.estate.estate)

    def _adoptable(self, planned: Sequence[PlannedResource]) -> frozenset[str]:
        """Logical names of resources that exist already and that the state does not know."""
        find = driver_for_preview(self.estate.provider, self.paths).find
        known = {k.logical_name for k in known_resources(self._deployment())}
        unknown = (p for p in planned if p.logical_name not in known)
        return frozenset(p.logical_name for p in unknown if find(p.kind, p.inputs.name) is not None)

    def recover(self) -> None:
        """Pick up what a killed run left: its engine's lock, and operations that were under way.

        Call it under the estate's lock.
        """
        if not self._exists():
            return
        if not self.estate.state and list((self.paths.pulumi / ".pulumi" / "locks").rglob("*.json")):
            self.progress("clearing the lock of a run that was killed")
            self._open().cancel()
        deployment = self._deployment()
        if deployment.get("pending_operations"):
            find = driver_named(self.estate.provider, self.paths).find
            resolved, notes = resolve_pending(deployment, find)
            for note in notes:
                self.progress(note)
            self._import(resolved)

    def _run(self, watcher: Watcher, call: Callable[[], object]) -> None:
        """Run an operation with our provider at hand. Raises YiyunError with what went wrong."""
        workspace = self._open().workspace
        provider = EstateProvider(driver_for_preview(self.estate.provider, self.paths))
        with hosted(provider) as address:
            workspace.env_vars = {**workspace.env_vars, ATTACH_VARIABLE: address}
            try:
                self._past_stale_locks(call)
            except automation.CommandError as error:
                said = watcher.errors() or _last_words(str(error))
                raise YiyunError(
                    f"the engine failed: {said}",
                    hint="correct it and run the same command again: it goes on from here",
                ) from None

    def _past_stale_locks(self, call: Callable[[], object]) -> None:
        try:
            call()
        except automation.ConcurrentUpdateError as error:
            if not self._cleared_stale_lock(str(error)):
                holder = _lock_holder(str(error))
                raise RefusedError(
                    f"the state of {self.estate.estate} is locked by a run elsewhere: {holder}",
                    hint="wait for it to end",
                ) from None
            call()

    def _cleared_stale_lock(self, message: str) -> bool:
        """Clear the backend's lock when its holder was a process of this machine that is gone."""
        found = re.search(r"created by \S+?@(\S+) \(pid (\d+)\)", message)
        if found is None or found[1] != socket.gethostname() or psutil.pid_exists(int(found[2])):
            return False
        self.progress("clearing the lock of a run that was killed")
        self._open().cancel()
        return True

    @staticmethod
    def _refuse_replacement(held: Sequence[Held]) -> None:
        forced = [h for h in held if h.properties]
        if forced:
            what = "; ".join(f"{h.logical_name} ({', '.join(h.properties)})" for h in forced)
            raise RefusedError(
                f"protected resources cannot change so without losing what they hold: {what}",
                hint="put the old values back, or remove it by name first: yiyun destroy --include NAME",
            )


class _Recovered:
    """The estate's lock, with what a killed run left picked up."""

    def __init__(self, engine: Engine, command: str) -> None:
        self._engine = engine
        self._lock = estate_lock(engine.paths, command, engine.progress, wait_seconds=engine.wait_seconds)

    def __enter__(self) -> None:
        self._lock.__enter__()
        try:
            self._engine.recover()
        except BaseException as error:
            self._lock.__exit__(type(error), error, error.__traceback__)
            raise

    def __exit__(self, *error: Any) -> None:
        self._lock.__exit__(*error)


def _selected(stack_name: str) -> None:
    """Stands for `pulumi stack select` where the stack is known to exist."""


def chosen_names(deployment: Deployment, include: Sequence[str]) -> frozenset[str]:
    """Logical names of the protected resources that `include` names, logically or physically.

    Raises BadInputError for a name that fits none.
    """
    protected = [k for k in known_resources(deployment) if k.kind in PROTECTED_KINDS]
    chosen: set[str] = set()
    for name in include:
        fits = {k.logical_name for k in protected if name in {k.logical_name, k.name}}
        if not fits:
            known = ", ".join(k.logical_name for k in protected) or "none"
            raise BadInputError(f"no protected resource is named {name}", hint=f"protected ones: {known}")
        chosen |= fits
    return frozenset(chosen)


def kept(deployment: Deployment, removed: frozenset[str]) -> frozenset[str]:
    """Logical names of what a destroy leaves: protected resources and what they depend on."""
    dependencies = {r["urn"]: set(r.get("dependencies") or []) for r in deployment.get("resources") or []}
    known = {k.urn: k for k in known_resources(deployment)}
    waiting = [u for u, k in known.items() if k.kind in PROTECTED_KINDS and k.logical_name not in removed]
    keeps: set[str] = set()
    while waiting:
        urn = waiting.pop()
        if urn in known and urn not in keeps:
            keeps.add(urn)
            waiting.extend(dependencies[urn])
    return frozenset(known[urn].logical_name for urn in keeps)


def _held_change(held: Held) -> Change:
    return Change(held.logical_name, held.kind, "replace", ())


def _lock_holder(message: str) -> str:
    found = re.search(r"created by (.+)", message)
    return found[1] if found else "it does not say whose"


def _last_words(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if "error:" in line]
    return lines[-1] if lines else message.strip()[-300:]
