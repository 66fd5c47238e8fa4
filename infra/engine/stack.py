"""The estate's stack: preview, up, drift and destroy by the Automation API, with the engine's own errors."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from pulumi import automation

from infra.drivers.registry import driver_for_preview, driver_named
from infra.engine.changes import Change, DestroyResult, Preview, UpResult
from infra.engine.deployment import (
    Deployment,
    Held,
    chosen_names,
    hold_protected,
    kept,
    known_resources,
    resolve_pending,
    settled,
    unprotect,
)
from infra.engine.drift import drift_of
from infra.engine.events import Watcher
from infra.engine.failures import holder_is_gone, lock_holder, told
from infra.engine.lock import WAIT_SECONDS, estate_lock
from infra.engine.workspace import open_workspace
from infra.errors import RefusedError
from infra.estate.plan import PlannedResource, plan_resources
from infra.program import PROJECT, register
from infra.provider.hosting import ATTACH_VARIABLE, hosted
from infra.provider.plugin import EstateProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from infra.estate.model import Estate
    from infra.paths import EstatePaths

_POLL_SECONDS = 0.5
"""Between two tries at a lock of the backend: each try starts an engine."""


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

    def up(self, *, full: bool = False) -> UpResult:
        """Make the resources agree with the estate, from wherever the last run left them.

        The engine is started when there is something to do, or if `full`: where estate, state and driver
        agree already (`settled`), it would find out the same in seconds instead of milliseconds.

        Raises RefusedError when a protected resource would have to be replaced (nothing is changed then),
        YiyunError when a resource cannot be made (a second `up` goes on from there).
        """
        driver_named(self.estate.provider, self.paths)
        with self._locked("up"):
            planned, held = self._plan()
            self._refuse_replacement(held)
            if not full and self._settled(planned):
                return UpResult({}, tuple(h.logical_name for h in held))
            stack = self._open()
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

    def is_settled(self) -> bool:
        """Whether estate, state and driver agree, so that the engine would find nothing to do."""
        return self._exists() and self._settled(self._plan()[0])

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
        with told():
            return {name: output.value for name, output in self._open().outputs().items()}

    def _settled(self, planned: Sequence[PlannedResource]) -> bool:
        driver = driver_named(self.estate.provider, self.paths)
        return settled(planned, self._deployment()) and not drift_of(planned, driver)

    @contextmanager
    def _locked(self, command: str) -> Generator[None]:
        """The estate's lock, with what a killed run left picked up."""
        with estate_lock(self.paths, command, self.progress, wait_seconds=self.wait_seconds), told():
            self.recover()
            yield

    def _open(self) -> automation.Stack:
        if self._stack is None:
            workspace = open_workspace(self.paths, self.estate.state, self.progress)
            if not self.estate.state and self._checkpoint.exists():
                workspace.select_stack = _selected  # every command names its stack: one engine start less
            with told():
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
        with told():
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
            self._clear_lock()
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
        with hosted(provider) as address, told(watcher.errors):
            workspace.env_vars = {**workspace.env_vars, ATTACH_VARIABLE: address}
            self._past_stale_locks(call)

    def _past_stale_locks(self, call: Callable[[], object]) -> None:
        """Call the engine; clear a dead run's lock, wait for a live one's. Raises RefusedError naming it."""
        deadline, cleared = time.monotonic() + self.wait_seconds, set[str]()
        while True:
            try:
                call()
                return
            except automation.ConcurrentUpdateError as error:
                message = str(error)
            holder = lock_holder(message)
            if holder not in cleared and holder_is_gone(message):
                self._clear_lock()
                cleared.add(holder)
                continue
            if time.monotonic() >= deadline:
                raise RefusedError(
                    f"the state of {self.estate.estate} is locked by a run elsewhere: {holder}",
                    hint="wait for it to end",
                )
            # A killed engine takes a moment to be gone, too.
            self.progress(f"waiting for {holder}, who holds the state's lock")
            time.sleep(_POLL_SECONDS)

    def _clear_lock(self) -> None:
        self.progress("clearing the lock of a run that was killed")
        self._open().cancel()

    @staticmethod
    def _refuse_replacement(held: Sequence[Held]) -> None:
        forced = [h for h in held if h.properties]
        if forced:
            what = "; ".join(f"{h.logical_name} ({', '.join(h.properties)})" for h in forced)
            raise RefusedError(
                f"protected resources cannot change so without losing what they hold: {what}",
                hint="put the old values back, or remove it by name first: yiyun destroy --include NAME",
            )


def _selected(stack_name: str) -> None:
    """Stands for `pulumi stack select` where the stack is known to exist."""


def _held_change(held: Held) -> Change:
    return Change(held.logical_name, held.kind, "replace", ())
