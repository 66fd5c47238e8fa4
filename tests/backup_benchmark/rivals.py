"""What others do with the same bytes and stores: rclone, restic, mysqldump, each with its defaults."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server_kit import PASSWORD, Server, program
from store_kit import free_port

from tests.backup_benchmark.bed import FAR, NEAR, SIZES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.backup_benchmark.bed import Bed

BUCKET = "rivals"
DUMP = "dump.sql.zst"
SCHEMAS = ("yiyun", "bank")


@dataclass(frozen=True)
class Rivals:
    """Their settings, beside the agent's. They own their bucket, which has neither versions nor locks."""

    bed: Bed
    folder: Path

    def prepare(self) -> None:
        """Buckets and settings."""
        self.folder.mkdir()
        lines: list[str] = []
        for region in self.bed.stores.values():
            region.store("owner")._client.create_bucket(Bucket=BUCKET)
            lines += [
                f"[{region.name}]",
                "type = s3",
                "provider = Other",
                f"endpoint = https://127.0.0.1:{region.port}",
                f"region = {region.name}",
                "access_key_id = owner",
                f"secret_access_key = {region.secrets['owner']}",
                "force_path_style = true",
                "no_check_bucket = true",
            ]
        self._write("rclone.conf", "\n".join([*lines, ""]))
        self._write("restic.password", "rival-0123")
        self._write("mysql.cnf", f"[client]\nuser=admin\npassword={PASSWORD}\n")

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text, encoding="utf-8")

    def clear(self, region: str, name: str) -> None:
        """Take away what one of them stored."""
        shutil.rmtree(self._stored(region, name), ignore_errors=True)

    def stored(self, region: str, name: str) -> int:
        """Bytes of it."""
        place = self._stored(region, name)
        found = [place, *place.rglob("*")]
        return sum(path.stat().st_size for path in found if path.is_file())

    def _stored(self, region: str, name: str) -> Path:
        return self.bed.stores[region].folder / "objects" / BUCKET / name

    def rclone(self, *words: str) -> list[str]:
        """Of the bundle, told where the stores are."""
        settings, authority = self.folder / "rclone.conf", self.bed.agent.folder / "ca.pem"
        return [program("RCLONE"), f"--config={settings}", f"--ca-cert={authority}", *words]

    def rclone_out(self) -> list[str]:
        """The folder, to the near store."""
        return self.rclone("copy", str(self.bed.cold), f"{NEAR}:{BUCKET}/rclone")

    def rclone_over(self) -> list[str]:
        """From the near store to the far one."""
        return self.rclone("copy", f"{NEAR}:{BUCKET}/rclone", f"{FAR}:{BUCKET}/rclone")

    def rclone_back(self, target: Path) -> list[str]:
        """From the near store into a folder."""
        return self.rclone("copy", f"{NEAR}:{BUCKET}/rclone", str(target))

    def restic(self, *words: str) -> list[str]:
        """Of the bundle, as it comes."""
        return [program("RESTIC"), *words]

    def restic_environment(self) -> Mapping[str, str]:
        """Where its repository is, and its secrets."""
        region = self.bed.stores[NEAR]
        return {
            "RESTIC_REPOSITORY": f"s3:https://127.0.0.1:{region.port}/{BUCKET}/restic",
            "RESTIC_PASSWORD_FILE": str(self.folder / "restic.password"),
            "RESTIC_CACERT": str(region.folder / "ca.pem"),
            "RESTIC_CACHE_DIR": str(self.folder / "restic-cache"),
            "AWS_ACCESS_KEY_ID": "owner",
            "AWS_SECRET_ACCESS_KEY": region.secrets["owner"],
        }

    def dump_out(self) -> list[str]:
        """Statements, compressed, to the near store."""
        options = ["--single-transaction", "--set-gtid-purged=OFF", "--databases", *SCHEMAS]
        dump = [program("DUMP"), *self._at(self.bed.server), *options]
        return _piped(dump, ["zstd", "--quiet"], self.rclone("rcat", f"{NEAR}:{BUCKET}/{DUMP}"))

    def dump_back(self, server: Server) -> list[str]:
        """From the near store into an empty server."""
        fetch = self.rclone("cat", f"{NEAR}:{BUCKET}/{DUMP}")
        return _piped(fetch, ["zstd", "--decompress"], [program("CLIENT"), *self._at(server)])

    def _at(self, server: Server) -> list[str]:
        options = f"--defaults-extra-file={self.folder / 'mysql.cnf'}"
        return [options, "--host=127.0.0.1", f"--port={server.port}"]

    def empty_server(self) -> Server:
        """That runs, keeps no log, and flushes as rarely as the agent's own server that restores."""
        told = (*SIZES, "--disable-log-bin", "--innodb-flush-log-at-trx-commit=2")
        server = Server(self.bed.folder / "loaded", free_port(), options=told)
        server.initialise()
        server.start()
        return server


def _piped(*commands: list[str]) -> list[str]:
    """One command whose parts feed each other; it fails when any of them does."""
    return ["bash", "-o", "pipefail", "-c", " | ".join(map(shlex.join, commands))]
