"""An offline folder is believed only whole and signed by whom one trusts; what differs is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra.bundle.build import bundles_folder, input_hash, is_whole, source_root
from infra.bundle.model import write_lock
from infra.bundle.offline.model import LOCK, SIGNATURE, OfflineLock, Part, described
from infra.bundle.offline.signing import KEY, sign
from infra.bundle.offline.trees import pack_tree
from infra.bundle.offline.use import PROGRAMS
from infra.drivers.lab.images import RECIPES, image_folder, newest_build
from infra.engine.golang import built
from infra.trust.operator_key import key_text
from tests.lab.harness import check_schema

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
INSTALL = ROOT / "infra/bundle/offline/install.sh"


def public_text() -> str:
    return key_text(KEY.private().public_key())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches and states of their own."""
    monkeypatch.setenv("YIYUN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("YIYUN_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("YIYUN_COLD", raising=False)
    return tmp_path


@pytest.fixture
def folder(place: Path) -> Path:
    """A small folder with every kind of part, made for this very yiyun."""
    return make_folder(place / "folder")


def make_folder(folder: Path, inputs: str = "") -> Path:
    inputs = inputs or input_hash(source_root())
    root = folder.parent / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin/su").write_text("su")
    (root / "bin/su").chmod(0o4755)
    (folder / "images").mkdir(parents=True)
    pack_tree(root, folder / "images/debian-13.tar")
    write(folder, {"programs/pulumi": "engine", "programs/versitygw": "store", "hosts/tools/uv": "uv"})
    write(folder, {"control/install": INSTALL.read_text(), "control/packages": "no-such-package\n"})
    write(folder, {"control/release": "another\n", "control/python": "3.0\n"})
    write(folder, {"hosts/debs/a_1.deb": "deb", "hosts/wheels/b.whl": "wheel"})
    write_lock(folder / "hosts", inputs, [])
    parts = [
        Part(kind="hosts", name="hosts", version="", key=inputs, path="hosts"),
        Part(
            kind="image",
            name="debian-13",
            version="20260101T000000",
            key=RECIPES["debian-13"].digest,
            path="images/debian-13.tar",
        ),
        *(
            Part(kind="program", name=p.name, version=p.version, key=p.key, path=f"programs/{p.name}")
            for p in PROGRAMS.values()
        ),
        Part(kind="control", name="yiyun", version="1", key="python", path="control"),
    ]
    lock = OfflineLock(
        yiyun="1",
        made="2026-01-01T00:00:00Z",
        signer=public_text(),
        parts=tuple(parts),
        files=described(folder, []),
    )
    (folder / LOCK).write_text(lock.model_dump_json(indent=1))
    sign(folder, KEY.private())
    return folder


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def yiyun(*words: str, state: Path | None = None) -> tuple[int, dict[str, Any]]:
    environment = {**os.environ, **({"YIYUN_STATE": str(state)} if state else {})}
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *words, "--json"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    result = json.loads(done.stdout)
    check_schema(result)
    return done.returncode, result


def test_a_whole_folder_is_verified_by_the_key_it_was_signed_with(folder: Path) -> None:
    code, result = yiyun("bundle", "verify", str(folder))
    assert (code, result["problems"], result["key"]) == (0, [], public_text())


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "name", ["hosts/debs/a_1.deb", "hosts/bundle.lock.json", "images/debian-13.tar", "programs/pulumi"]
)
def test_one_altered_bit_is_refused_and_named_and_nothing_is_imported(folder: Path, name: str) -> None:
    flip_a_bit(folder / name)
    code, result = yiyun("bundle", "verify", str(folder))
    assert (code, result["ok"]) == (1, False)
    assert result["problems"] == [f"{name}: altered (its SHA-256 is not the one in the lock)"]
    code, result = yiyun("bundle", "use", str(folder))
    assert code == 1
    assert name in result["error"]["message"]
    assert not bundles_folder().exists()
    assert newest_build(image_folder("debian-13", RECIPES["debian-13"].digest)) is None


def test_a_missing_an_extra_and_a_replaced_file_are_named(folder: Path) -> None:
    (folder / "programs/pulumi").unlink()
    (folder / "hosts/debs/evil.deb").write_text("x")
    (folder / "control/install").unlink()
    (folder / "control/install").symlink_to("/bin/true")
    code, result = yiyun("bundle", "verify", str(folder))
    assert code == 1
    assert result["problems"] == [
        "programs/pulumi: missing",
        "hosts/debs/evil.deb: not in the lock",
        "control/install: altered (a link in place of the file)",
    ]


def forget_signature(folder: Path) -> None:
    (folder / SIGNATURE).unlink()


def alter_signature(folder: Path) -> None:
    flip_a_bit(folder / SIGNATURE)


def alter_lock(folder: Path) -> None:
    text = (folder / LOCK).read_text()
    (folder / LOCK).write_text(text.replace("2026-01-01", "2026-01-02"))


def sign_by_another(folder: Path) -> None:
    os.environ["YIYUN_BUNDLE_KEY_FILE"] = str(folder.parent / "other.pem")
    try:
        sign(folder, KEY.private())
    finally:
        del os.environ["YIYUN_BUNDLE_KEY_FILE"]


@pytest.mark.parametrize("harm", [forget_signature, alter_signature, alter_lock, sign_by_another])
@pytest.mark.parametrize("verb", ["verify", "use"])
def test_a_wrong_signature_is_refused_before_any_file_is_believed(
    folder: Path, harm: Callable[[Path], None], verb: str
) -> None:
    harm(folder)
    code, result = yiyun("bundle", verb, str(folder))
    assert (code, result["error"]["code"]) == (3, "refused")
    assert SIGNATURE in result["error"]["message"]
    assert not bundles_folder().exists()


def test_a_key_that_nobody_here_trusts_is_not_believed_until_it_is_given(folder: Path, place: Path) -> None:
    key, elsewhere = public_text(), place / "elsewhere"
    code, result = yiyun("bundle", "use", str(folder), state=elsewhere)
    assert (code, key in result["error"]["message"]) == (3, True)
    assert yiyun("bundle", "use", str(folder), "--key", key, state=elsewhere)[0] == 0
    assert yiyun("bundle", "verify", str(folder), state=elsewhere)[0] == 0


def test_another_key_given_is_refused_and_nonsense_is_bad_input(folder: Path) -> None:
    other = "ed25519:" + "A" * 43 + "="
    assert yiyun("bundle", "verify", str(folder), "--key", other)[0] == 3
    assert yiyun("bundle", "verify", str(folder), "--key", "ed25519:abc")[0] == 4
    assert yiyun("bundle", "verify", str(folder.parent / "nowhere"))[0] == 4


def test_use_fills_the_caches_and_a_second_time_finds_all_there(folder: Path) -> None:
    code, result = yiyun("bundle", "use", str(folder))
    assert code == 0, result
    assert result["imported"] == ["hosts hosts", "image debian-13", "program pulumi", "program versitygw"]
    assert result["lacking"] == ["appliance"]
    assert is_whole(bundles_folder() / input_hash(source_root()))
    assert all(built(p) is not None for p in PROGRAMS.values())
    build = newest_build(image_folder("debian-13", RECIPES["debian-13"].digest))
    assert build is not None
    assert (build / "rootfs/bin/su").stat().st_mode & 0o7777 == 0o4755
    assert yiyun("bundle", "use", str(folder))[1]["imported"] == []


def test_an_archive_serves_as_the_folder_does(folder: Path) -> None:
    archive = folder.parent / "folder.tar"
    subprocess.run(["tar", "-cf", archive, "-C", folder.parent, folder.name], check=True)
    code, result = yiyun("bundle", "use", str(archive))
    assert (code, len(result["imported"])) == (0, 4)
    archive.write_text("no archive")
    assert yiyun("bundle", "use", str(archive))[0] == 4


def test_a_folder_of_another_yiyun_is_refused_because_up_would_not_find_it(place: Path) -> None:
    code, result = yiyun("bundle", "use", str(make_folder(place / "old", inputs="0123456789abcdef")))
    assert code == 3
    assert "made by another yiyun" in result["error"]["message"]


def test_the_signing_key_is_private_and_readable_by_openssl(folder: Path) -> None:
    assert KEY.file().stat().st_mode & 0o777 == 0o600
    public = folder.parent / "public.pem"
    subprocess.run(
        ["openssl", "pkey", "-in", KEY.file(), "-pubout", "-out", public], check=True, capture_output=True
    )
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin"]
    command += ["-in", folder / LOCK, "-sigfile", folder / SIGNATURE]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def install(folder: Path, key: str) -> tuple[int, str]:
    """Run the folder's own script; the small folder stops it at the latest where packages are missing."""
    argv = ["sh", str(folder / "control/install"), key, str(folder.parent / "installed")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert not (folder.parent / "installed").exists()
    return done.returncode, done.stderr


def test_the_installer_believes_only_the_key_it_was_told_and_the_files_of_the_lock(folder: Path) -> None:
    key = public_text()
    code, said = install(folder, key)
    assert (code, "missing: no-such-package" in said) == (1, True)
    assert install(folder, "ed25519:" + "A" * 43 + "=")[0] == 3
    assert install(folder, "")[0] == 4
    (folder / "control/packages").write_text("another-package\n")
    code, said = install(folder, key)
    assert (code, "refused: a file is not the one the lock names" in said) == (1, True)
    alter_lock(folder)
    assert install(folder, key)[0] == 3
