"""Plugin `pulumi-resource-yiyun`: the engine's gRPC calls, answered by a driver.

The engine finds it on PATH by its name. It ends with the engine that started it.
"""

from __future__ import annotations

import asyncio
import os
import select
import sys
import threading
from typing import TYPE_CHECKING, Any

from pulumi.provider.experimental import provider as rpc
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.server import main as serve
from pydantic import ValidationError

from infra.drivers.registry import driver_for_preview
from infra.errors import YiyunError
from infra.paths import EstatePaths
from infra.provider.differences import changed_properties, must_replace
from infra.resources import KINDS, Inputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.drivers.base import Actual, Driver

VERSION = "0.1.0"
PACKAGE = "yiyun"


def token(kind: str) -> str:
    """Type token of a resource kind, as it stands in the engine's state."""
    return f"{PACKAGE}:index:{kind}"


def kind_of(type_token: str) -> str:
    """Resource kind of a type token. Raises YiyunError for a kind that does not exist."""
    kind = type_token.rsplit(":", 1)[-1]
    if kind not in KINDS:
        raise YiyunError(f"no resource kind {kind}")
    return kind


class EstateProvider(rpc.Provider):
    """Check, diff and the life of resources, for the given driver or the one the configuration names."""

    def __init__(self, driver: Driver | None = None) -> None:
        self._driver = driver

    @property
    def driver(self) -> Driver:
        """The configured driver."""
        if self._driver is None:
            raise YiyunError("the provider was called before it was configured")
        return self._driver

    async def check_config(self, request: rpc.CheckRequest) -> rpc.CheckResponse:
        """`driver` and `estate` (its name) are all there is to configure."""
        return rpc.CheckResponse(inputs=request.new_inputs)

    async def diff_config(self, request: rpc.DiffRequest) -> rpc.DiffResponse:  # noqa: ARG002
        """A changed configuration never replaces a resource; the engine itself sees whether it changed."""
        return rpc.DiffResponse()

    async def configure(self, request: rpc.ConfigureRequest) -> rpc.ConfigureResponse:
        """Choose the driver. The state folder comes from the environment, so state holds no local path."""
        values = {name: value.value for name, value in request.args.items()}
        if self._driver is None:
            self._driver = driver_for_preview(str(values["driver"]), EstatePaths(str(values["estate"])))
        return rpc.ConfigureResponse(supports_preview=True, accept_secrets=True)

    async def check(self, request: rpc.CheckRequest) -> rpc.CheckResponse:
        """Inputs well formed and possible for the driver, else one failure a property."""
        kind = kind_of(request.type)
        try:
            inputs = KINDS[kind].model_validate(plain(request.new_inputs))
        except ValidationError as error:
            failures = [rpc.CheckFailure(_dotted(e["loc"]), e["msg"]) for e in error.errors()]
            return rpc.CheckResponse(request.new_inputs, failures)
        refused = await asyncio.to_thread(self.driver.check, kind, inputs)
        return rpc.CheckResponse(
            properties(inputs), [rpc.CheckFailure(f.property, f.reason) for f in refused]
        )

    async def diff(self, request: rpc.DiffRequest) -> rpc.DiffResponse:
        """Differences by property; an immutable one replaces, the old one first since names are unique."""
        kind = kind_of(request.type)
        names = [
            name
            for name in changed_properties(kind, plain(request.new_inputs), plain(request.old_state))
            if name not in request.ignore_changes
        ]
        replaces = [name for name in names if must_replace(kind, [name])]
        detailed = {name: rpc.PropertyDiff(_diff_kind(name in replaces), input_diff=False) for name in names}
        return rpc.DiffResponse(
            changes=bool(names),
            replaces=replaces,
            delete_before_replace=True,
            diffs=names,
            detailed_diff=detailed,
        )

    async def create(self, request: rpc.CreateRequest) -> rpc.CreateResponse:
        """Make the resource, or take over the estate's own of the same name that a killed run left."""
        kind, inputs = self._parsed(request.type, request.properties)
        if request.preview:
            return rpc.CreateResponse(None, properties(inputs))
        actual = await asyncio.to_thread(make, self.driver, kind, inputs)
        return rpc.CreateResponse(actual.id, properties(actual.inputs))

    async def read(self, request: rpc.ReadRequest) -> rpc.ReadResponse:
        """The resource as it is, or an empty answer when it is gone."""
        actual = await asyncio.to_thread(self.driver.read, kind_of(request.type), request.resource_id)
        if actual is None:
            return rpc.ReadResponse()
        values = properties(actual.inputs)
        return rpc.ReadResponse(actual.id, values, values)

    async def update(self, request: rpc.UpdateRequest) -> rpc.UpdateResponse:
        """Change in place."""
        kind, inputs = self._parsed(_type_of(request.urn), request.news)
        if request.preview:
            return rpc.UpdateResponse(properties(inputs))
        actual = await asyncio.to_thread(self.driver.update, kind, request.resource_id, inputs)
        return rpc.UpdateResponse(properties(actual.inputs))

    async def delete(self, request: rpc.DeleteRequest) -> None:
        """Remove the resource."""
        await asyncio.to_thread(self.driver.delete, kind_of(request.type), request.resource_id)

    async def cancel(self) -> None:
        """Calls in flight finish; the engine starts no more."""

    @staticmethod
    def _parsed(type_token: str, values: Mapping[str, PropertyValue]) -> tuple[str, Inputs]:
        kind = kind_of(type_token)
        return kind, KINDS[kind].model_validate(plain(values))


def make(driver: Driver, kind: str, inputs: Inputs) -> Actual:
    """Create, or adopt what already has this name: equal as it is, different by changing it in place.

    Raises YiyunError when the one that exists differs in what cannot change in place.
    """
    actual = driver.find(kind, inputs.name)
    if actual is None:
        return driver.create(kind, inputs)
    names = changed_properties(kind, inputs.model_dump(), actual.inputs.model_dump())
    fixed = [name for name in names if must_replace(kind, [name])]
    if fixed:
        raise YiyunError(
            f"{kind} {inputs.name} exists already with another {', '.join(fixed)}",
            hint="correct the estate file, or destroy the existing one by its name",
        )
    return driver.update(kind, actual.id, inputs) if names else actual


def properties(inputs: Inputs) -> dict[str, PropertyValue]:
    """Inputs as the engine's values."""
    return {name: _wrapped(value) for name, value in inputs.model_dump().items()}


def plain(values: Mapping[str, PropertyValue]) -> dict[str, Any]:
    """The engine's values as plain JSON values; whole numbers become integers."""
    return {name: _unwrapped(value) for name, value in values.items() if not name.startswith("__")}


def _wrapped(value: Any) -> PropertyValue:
    if isinstance(value, dict):
        return PropertyValue({key: _wrapped(item) for key, item in value.items()})
    if isinstance(value, list):
        return PropertyValue([_wrapped(item) for item in value])
    if isinstance(value, int) and not isinstance(value, bool):
        return PropertyValue(float(value))
    return PropertyValue(value)


def _unwrapped(value: PropertyValue) -> Any:
    inner: Any = value.value
    if isinstance(inner, float) and inner.is_integer():
        return int(inner)
    if isinstance(inner, str | bool | float) or inner is None:
        return inner
    if hasattr(inner, "items"):
        return {key: _unwrapped(item) for key, item in inner.items()}
    return [_unwrapped(item) for item in inner]


def _diff_kind(replaces: bool) -> rpc.PropertyDiffKind:
    return rpc.PropertyDiffKind.UPDATE_REPLACE if replaces else rpc.PropertyDiffKind.UPDATE


def _type_of(urn: str) -> str:
    return urn.split("::")[-2].rsplit("$", 1)[-1]


def _dotted(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)


def end_with(parent: int) -> None:
    """End this process as soon as `parent` ends, however that happens.

    A descriptor of the process is waited on rather than PR_SET_PDEATHSIG, which would fire when the
    engine's *thread* that started us ends.
    """
    watched = os.pidfd_open(parent)
    if os.getppid() != parent:
        os._exit(1)

    def wait() -> None:
        poller = select.poll()
        poller.register(watched, select.POLLIN)
        poller.poll()
        os._exit(1)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


def main() -> None:
    """Serve the engine that started this process."""
    end_with(os.getppid())
    serve(sys.argv[1:], VERSION, EstateProvider())


if __name__ == "__main__":
    main()
