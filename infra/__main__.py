"""What the vendor's `pulumi preview` runs in this folder; `yiyun:estate` names the estate."""

from __future__ import annotations

import sys
from pathlib import Path

import pulumi

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the engine starts us as a folder, not a package

from infra.estate.loading import load_estate  # noqa: E402
from infra.estate.plan import plan_resources  # noqa: E402
from infra.paths import EstatePaths  # noqa: E402
from infra.program import register  # noqa: E402


def main() -> None:
    """Register the estate's resources with the engine that started this program."""
    estate = load_estate(pulumi.Config("yiyun").get("estate") or "lab")
    key = EstatePaths(estate.estate).ssh_key.with_suffix(".pub")
    authorized = key.read_text(encoding="utf-8").strip() if key.exists() else ""
    register(plan_resources(estate, authorized), driver=estate.provider, estate=estate.estate)


if __name__ == "__main__":
    main()
