"""The Pulumi engine: the machine's own, else the vendor's installer if asked for, else built from source."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from infra.engine.golang import GoProgram, build, built
from infra.errors import YiyunError
from infra.paths import cache_root

if TYPE_CHECKING:
    from collections.abc import Callable

ENGINE_VERSION = "3.255.0"
"""The engine's version; `pulumi` of PyPI is pinned to the same (a test compares)."""

COMPATIBLE = re.compile(r"^v?3\.255\.\d+$")

VENDOR_INSTALLER_VARIABLE = "YIYUN_PULUMI_INSTALLER"
"""Set to the path of the vendor's downloaded install script to use it instead of building from source."""

_SDK = "github.com/pulumi/pulumi/sdk/v3"
_PKG = "github.com/pulumi/pulumi/pkg/v3"

ENGINE = GoProgram(
    name="pulumi",
    version=f"v{ENGINE_VERSION}",
    requires={_PKG: f"v{ENGINE_VERSION}", _SDK: f"v{ENGINE_VERSION}"},
    # The engine's own go.mod replaces this module, and a replacement does not reach those who require it.
    replaces={
        "github.com/atotto/clipboard": "github.com/tgummerer/clipboard v0.0.0-20241001131231-d02d263e614e"
    },
    package=f"{_PKG}/cmd/pulumi",
    # Without a version the Automation API refuses the engine.
    ldflags=f"-s -w -X {_SDK}/go/common/version.Version=v{ENGINE_VERSION}",
)
"""How the engine is built from its source."""


def ensure_engine(progress: Callable[[str], None]) -> Path:
    """The `pulumi` program of the right version. Raises YiyunError when it cannot be had."""
    at_hand = engine_at_hand()
    if at_hand is not None:
        return at_hand
    script = os.environ.get(VENDOR_INSTALLER_VARIABLE, "")
    if script:
        return _run_vendor_installer(Path(script), progress)
    return build(ENGINE, progress)


def engine_at_hand() -> Path | None:
    """The engine if it is there already, else None."""
    installed = shutil.which("pulumi")
    if installed and COMPATIBLE.match(engine_version(Path(installed))):
        return Path(installed)
    return built(ENGINE)


def engine_version(engine: Path) -> str:
    """What `pulumi version` says, or nothing when it does not run."""
    try:
        done = subprocess.run(
            [str(engine), "version"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            env=os.environ | {"PULUMI_SKIP_UPDATE_CHECK": "1"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _run_vendor_installer(script: Path, progress: Callable[[str], None]) -> Path:
    root = cache_root() / "pulumi" / ENGINE_VERSION
    engine = root / "bin" / "pulumi"
    if engine.exists() and COMPATIBLE.match(engine_version(engine)):
        return engine
    progress(f"running the vendor's installer for pulumi {ENGINE_VERSION}")
    done = subprocess.run(
        ["/bin/sh", str(script), "--version", ENGINE_VERSION, "--install-root", str(root), "--no-edit-path"],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    if done.returncode != 0 or not COMPATIBLE.match(engine_version(engine)):
        raise YiyunError(
            f"the vendor's installer did not give pulumi {ENGINE_VERSION}",
            hint=f"unset {VENDOR_INSTALLER_VARIABLE} to build the engine from its source instead",
        )
    return engine
