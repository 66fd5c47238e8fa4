"""Drills by name: those that come with yiyun, or a file of one's own."""

from __future__ import annotations

import io
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from infra.errors import BadInputError
from runbooks.drills.model import Drill
from runbooks.drills.rehearsal import Loss, Rehearsal

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


AnyDrill: TypeAlias = Drill | Rehearsal | Loss
"""One that breaks something, or one that goes the way back."""
KINDS: dict[str, type[Rehearsal | Loss]] = {"remote-backup": Rehearsal, "region-loss": Loss}
"""What a file's `rehearses` says → what it is; without that word it breaks something."""


def shipped() -> dict[str, AnyDrill]:
    """Name → drill, in the order of their names. Raises BadInputError for a file that is none."""
    folder = resources.files("runbooks.drills.library")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    return {drill.name: drill for drill in map(read_drill, files)}


def find_drill(word: str) -> AnyDrill:
    """A shipped drill, or a file. Raises BadInputError naming what there is, or what is wrong in the file."""
    if word.endswith((".yaml", ".yml")):
        path = Path(word)
        if not path.exists():
            raise BadInputError(
                f"no file {word}", hint="yiyun drill list names the shipped drills", where=word
            )
        return read_drill(path)
    drills = shipped()
    if word not in drills:
        raise BadInputError(f"no drill {word}", hint=f"one of {', '.join(drills)}; or a file ending in .yaml")
    return drills[word]


def find_breaking(word: str) -> Drill:
    """As `find_drill`, of those that break something under load. Raises BadInputError for another."""
    found = find_drill(word)
    if isinstance(found, Rehearsal | Loss):
        raise BadInputError(f"{word} breaks nothing under load", hint=f"yiyun drill run {word}")
    return found


def as_text(drill: AnyDrill) -> str:
    """A drill as its file would have it."""
    text = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 100
    yaml.dump(drill.model_dump(mode="json", exclude_none=True), text)
    return text.getvalue()


def read_drill(path: Path | Traversable) -> AnyDrill:
    """A drill's file. Raises BadInputError saying where it is wrong."""
    try:
        written = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        kind = KINDS.get(str(written.get("rehearses", "")), Drill) if isinstance(written, dict) else Drill
        return kind.model_validate(written)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInputError(
            f"{path.name}: {where}: {first['msg']}", hint="correct the file", where=where
        ) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path.name} is not YAML: {error}", hint="correct the file") from None
