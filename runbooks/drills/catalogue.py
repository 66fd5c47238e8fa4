"""Drills by name: those that come with yiyun, or a file of one's own."""

from __future__ import annotations

import io
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from infra.errors import BadInputError
from runbooks.drills.model import Drill

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


def shipped() -> dict[str, Drill]:
    """Name → drill, in the order of their names. Raises BadInputError for a file that is none."""
    folder = resources.files("runbooks.drills.library")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    return {drill.name: drill for drill in map(read_drill, files)}


def find_drill(word: str) -> Drill:
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


def as_text(drill: Drill) -> str:
    """A drill as its file would have it."""
    text = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 100
    yaml.dump(drill.model_dump(mode="json", exclude_none=True), text)
    return text.getvalue()


def read_drill(path: Path | Traversable) -> Drill:
    """A drill's file. Raises BadInputError saying where it is wrong."""
    try:
        return Drill.model_validate(YAML(typ="safe").load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInputError(
            f"{path.name}: {where}: {first['msg']}", hint="correct the file", where=where
        ) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path.name} is not YAML: {error}", hint="correct the file") from None
