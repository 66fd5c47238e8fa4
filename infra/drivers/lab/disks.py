"""System disks (overlays on an image) and data disks (sparse ext4 images) of lab machines."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from infra.drivers.lab.commands import Progress, run
from infra.drivers.lab.images import ensure_image
from infra.drivers.lab.mounts import is_mounted, unmount_below
from infra.errors import YiyunError

if TYPE_CHECKING:
    from infra import resources as kinds
    from infra.drivers.lab.machines import Machine
    from infra.paths import EstatePaths

MIB = 1024 * 1024


def system_folder(paths: EstatePaths, thing: str) -> Path:
    """Folder of a machine's system disk: `upper`, `work`, `merged`, and `image` (what it stands on)."""
    return paths.lab / "hosts" / thing


def merged(paths: EstatePaths, thing: str) -> Path:
    """Where a machine's root file system is mounted."""
    return system_folder(paths, thing) / "merged"


def system_image(paths: EstatePaths, thing: str) -> Path | None:
    """The image build a machine's system disk stands on; None when it has none yet, or that build is gone."""
    note = system_folder(paths, thing) / "image"
    began = Path(note.read_text(encoding="utf-8").strip()) if note.exists() else None
    return began if began is not None and began.is_dir() else None


def data_image(paths: EstatePaths, disk: str) -> Path:
    """The sparse file of a data disk."""
    return paths.lab / "disks" / f"{disk}.img"


def data_mounts(paths: EstatePaths) -> Path:
    """Folder below which data disks are mounted on this machine, by the disk's name."""
    return paths.lab / "mounts"


def known_data_disks(paths: EstatePaths) -> list[str]:
    """Names of the data disks there are."""
    return sorted(p.stem for p in (paths.lab / "disks").glob("*.img"))


def ensure_system_disk(paths: EstatePaths, thing: str, image: str, progress: Progress) -> list[str]:
    """Mount a machine's overlay. It keeps the build of the image it began with, as a real disk would.

    Another image (in the estate file) means another machine: its system disk starts empty.
    """
    folder = system_folder(paths, thing)
    where = folder / "merged"
    if is_mounted(where):
        return []
    began = system_image(paths, thing) or ensure_image(image, progress)
    for part in ("upper", "work", "merged"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "image").write_text(f"{began}\n", encoding="utf-8")
    options = f"lowerdir={began},upperdir={folder / 'upper'},workdir={folder / 'work'}"
    run(["mount", "-t", "overlay", "-o", options, "overlay", str(where)])
    return [f"{thing}: system disk"]


def ensure_data_disk(paths: EstatePaths, disk: kinds.Disk, *, attached: bool) -> list[str]:
    """Make, grow (only while it is not mounted) and, when attached, mount a data disk.

    Raises YiyunError when the record asks for a smaller disk than there is.
    """
    image, where = data_image(paths, disk.name), data_mounts(paths) / disk.name
    wanted = disk.size_mib * MIB
    changed: list[str] = []
    if not image.exists():
        _make_disk(image, wanted)
        changed.append(f"disk {disk.name}: made")
    mounted = is_mounted(where)
    size = image.stat().st_size
    if size > wanted:
        raise YiyunError(
            f"disk {disk.name} has {size // MIB} MiB and cannot shrink to {disk.size_mib} MiB",
            hint="give it its old size in the estate file, or a disk of another name",
        )
    if size < wanted and not mounted:
        _grow_disk(image, wanted)
        changed.append(f"disk {disk.name}: grown")
    if attached and not mounted:
        where.mkdir(parents=True, exist_ok=True)
        run(["mount", "-o", "loop,noatime", str(image), str(where)])
        changed.append(f"disk {disk.name}: mounted")
    return changed


def needs_growth(paths: EstatePaths, disk: kinds.Disk) -> bool:
    """True when the disk must be grown, which takes its host down (a mounted one cannot grow here)."""
    image = data_image(paths, disk.name)
    return image.exists() and image.stat().st_size < disk.size_mib * MIB


def _make_disk(image: Path, octets: int) -> None:
    image.parent.mkdir(parents=True, exist_ok=True)
    half = image.with_suffix(".half")
    with half.open("wb") as stream:
        stream.truncate(octets)
    run(["mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", "-F", str(half)])
    half.replace(image)


def _grow_disk(image: Path, octets: int) -> None:
    run(["e2fsck", "-p", "-f", str(image)])
    os.truncate(image, octets)
    run(["resize2fs", str(image)])


def detach(paths: EstatePaths, machine: Machine) -> None:
    """Unmount the disks of a machine that does not run."""
    unmount_below(merged(paths, machine.thing))
    for outside, _, _ in machine.binds:
        if Path(outside).parent == data_mounts(paths):
            unmount_below(Path(outside))


def forget_system_disk(paths: EstatePaths, thing: str) -> None:
    """Remove a machine's system disk for good."""
    folder = system_folder(paths, thing)
    unmount_below(folder)
    shutil.rmtree(folder, ignore_errors=True)


def forget_data_disk(paths: EstatePaths, disk: str) -> None:
    """Remove a data disk for good. Only `realise` calls this, and only when its record is gone."""
    where = data_mounts(paths) / disk
    if where.exists():
        unmount_below(where)
        where.rmdir()
    data_image(paths, disk).unlink(missing_ok=True)
