"""The Automation API's workspace: a private home, a passphrase by file, and an engine that dies with us."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pulumi import automation
from semver import VersionInfo

from infra.engine.bootstrap import ENGINE_VERSION, ensure_engine
from infra.errors import YiyunError
from infra.program import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.paths import EstatePaths

_PASSPHRASE_FILE = "PULUMI_CONFIG_PASSPHRASE_FILE"  # noqa: S105  name of a variable


def open_workspace(
    paths: EstatePaths, state_url: str, progress: Callable[[str], None]
) -> automation.LocalWorkspace:
    """A workspace for the estate's stack. `state_url`: any backend of Pulumi, or empty for a local folder."""
    paths.ensure()
    paths.pulumi.mkdir(exist_ok=True, mode=0o700)
    url = backend_url(paths, state_url)
    work = paths.root / "pulumi-work"
    work.mkdir(exist_ok=True, mode=0o700)
    settings = automation.ProjectSettings(
        name=PROJECT, runtime="python", backend=automation.ProjectBackend(url)
    )
    return automation.LocalWorkspace(
        work_dir=str(work),
        pulumi_home=str(paths.root / "pulumi-home"),
        env_vars=_environment(paths, url),
        secrets_provider="passphrase",
        project_settings=settings,
        pulumi_command=_PinnedCommand(launcher(paths, ensure_engine(progress))),
    )


def backend_url(paths: EstatePaths, state_url: str) -> str:
    """URL of the backend: the given one, or the estate's own folder.

    A local folder's files are written without `.attrs` files beside them: those are not replaced
    atomically, and one that a killed engine left empty makes the whole state unreadable (measured).
    """
    url = urlsplit(state_url or f"file://{paths.pulumi}")
    if url.scheme != "file" or "metadata=" in url.query:
        return url.geturl()
    return url._replace(query="&".join(filter(None, (url.query, "metadata=skip")))).geturl()


class _PinnedCommand(automation.PulumiCommand):
    """The engine `ensure_engine` vouches for, without asking it for its version at each start."""

    def __init__(self, program: Path) -> None:
        self.command = str(program)
        self.version = VersionInfo.parse(ENGINE_VERSION)


def _environment(paths: EstatePaths, url: str) -> dict[str, str]:
    given = os.environ.get(_PASSPHRASE_FILE) or str(_passphrase(paths))
    beside = Path(sys.executable).parent  # where the provider plugin's console script is
    return {
        "PULUMI_BACKEND_URL": url,
        _PASSPHRASE_FILE: given,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_IGNORE_AMBIENT_PLUGINS": "false",
        "YIYUN_STATE": str(paths.root.parent),
        "PATH": os.pathsep.join([str(beside), os.environ.get("PATH", os.defpath)]),
    }


def _passphrase(paths: EstatePaths) -> Path:
    """File of the stack's passphrase, generated once and readable by its owner only."""
    path = paths.engine_passphrase
    if not path.exists():
        temporary = path.with_suffix(".new")
        temporary.touch(mode=0o600)
        temporary.write_text(secrets.token_urlsafe(32), encoding="ascii")
        temporary.replace(path)
    return path


def launcher(paths: EstatePaths, engine: Path) -> Path:
    """A `bin/pulumi` that runs the engine so that the kernel ends it when we end."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise YiyunError("setpriv is not installed", hint="install the package util-linux")
    script = paths.root / "pulumi-launcher" / "bin" / "pulumi"
    text = f'#!/bin/sh\nexec {setpriv} --pdeathsig KILL {engine} "$@"\n'
    if not script.exists() or script.read_text(encoding="utf-8") != text:
        script.parent.mkdir(parents=True, exist_ok=True)
        temporary = script.with_suffix(".new")
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o700)
        temporary.replace(script)
    return script
