"""Reading an estate file: `extends`, merging by name, and the place of everything that is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from infra.errors import BadInputError, EstateError, Problem
from infra.estate.checks import find_problems
from infra.estate.model import Estate

Key = tuple[str | int, ...]
"""Where in the document: keys of mappings and indexes of lists."""


@dataclass
class Document:
    """Plain data of one or more merged files, and where each part of it was written."""

    data: Any
    places: dict[Key, str] = field(default_factory=dict[Key, str])

    def place(self, key: Key) -> str:
        """`FILE:LINE` of a key, or of the nearest part that contains it."""
        while key not in self.places and key:
            key = key[:-1]
        return self.places.get(key, "")


def load_estate(name_or_path: str) -> Estate:
    """The estate of that file or shipped name, validated.

    Raises EstateError with `file:line` for every problem, BadInputError when there is no such estate.
    """
    document = read_document(find_estate_file(name_or_path))
    try:
        estate = Estate.model_validate(document.data)
    except ValidationError as error:
        raise EstateError([_problem(document, item) for item in error.errors()]) from None
    problems = [Problem(document.place(key), message, hint) for key, message, hint in find_problems(estate)]
    if problems:
        raise EstateError(problems)
    return estate


def find_estate_file(name_or_path: str) -> Path:
    """A path as given, else the shipped estate of that name. Raises BadInputError."""
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} or "/" in name_or_path:
        if path.is_file():
            return path
        raise BadInputError(f"no estate file {name_or_path}", hint="yiyun init FILE writes one to start from")
    shipped = Path(str(resources.files("infra.estates").joinpath(f"{name_or_path}.yaml")))
    if shipped.is_file():
        return shipped
    names = ", ".join(sorted(p.stem for p in shipped.parent.glob("*.yaml")))
    raise BadInputError(
        f"no estate named {name_or_path}", hint=f"use one of {names}, or the path of an estate file"
    )


def read_document(path: Path, seen: tuple[Path, ...] = ()) -> Document:
    """The file as plain data with places, on top of what it extends. Raises BadInputError."""
    if path.resolve() in seen:
        raise BadInputError("estate files extend each other in a circle", where=str(path))
    raw = _parse(path)
    document = Document({})
    document.data = _plain(raw, (), path, document.places)
    base = document.data.pop("extends", None)
    if base is None:
        return document
    base_path = (
        path.parent / str(base) if str(base).endswith((".yaml", ".yml")) else find_estate_file(str(base))
    )
    return merge(read_document(base_path, (*seen, path.resolve())), document)


def merge(base: Document, top: Document) -> Document:
    """`top` laid over `base`: mappings merge, lists of named items merge by name, all else is replaced."""
    places = dict(base.places)
    data = _merge(base.data, top.data, (), (), top.places, places)
    return Document(data, places)


def _merge(
    base: Any, top: Any, key: Key, top_key: Key, top_places: dict[Key, str], places: dict[Key, str]
) -> Any:
    if isinstance(base, dict) and isinstance(top, dict):
        merged = dict(base)
        for name, value in top.items():
            merged[name] = _merge(base.get(name), value, (*key, name), (*top_key, name), top_places, places)
        return merged
    if _named(base) and _named(top):
        merged_list = list(base)
        index_of = {item["name"]: index for index, item in enumerate(base)}
        for top_index, item in enumerate(top):
            index = index_of.get(item["name"], len(merged_list))
            old = merged_list[index] if index < len(merged_list) else None
            new = _merge(old, item, (*key, index), (*top_key, top_index), top_places, places)
            merged_list[index:] = [new, *merged_list[index + 1 :]]
        return merged_list
    _move_places(key, top_key, top_places, places)
    return top


def _move_places(key: Key, top_key: Key, top_places: dict[Key, str], places: dict[Key, str]) -> None:
    for old in [p for p in places if p[: len(key)] == key]:
        del places[old]
    for place, where in top_places.items():
        if place[: len(top_key)] == top_key:
            places[(*key, *place[len(top_key) :])] = where


def _named(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(i, dict) and "name" in i for i in value)


def _parse(path: Path) -> CommentedMap:
    try:
        with path.open(encoding="utf-8") as stream:
            raw = YAML(typ="rt").load(stream)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadInputError(f"not valid YAML: {error.problem}", where=f"{path}:{line}") from None
    except UnicodeDecodeError:
        raise BadInputError("not UTF-8", hint="save the file as UTF-8", where=str(path)) from None
    if not isinstance(raw, CommentedMap):
        raise BadInputError(
            "an estate file is a mapping", hint="yiyun init FILE writes one", where=f"{path}:1"
        )
    return raw


def _plain(raw: Any, key: Key, path: Path, places: dict[Key, str]) -> Any:
    if isinstance(raw, CommentedMap):
        places.setdefault(key, f"{path}:{raw.lc.line + 1}")
        result: dict[str, Any] = {}
        for name, value in raw.items():
            places[(*key, str(name))] = f"{path}:{raw.lc.key(name)[0] + 1}"
            result[str(name)] = _plain(value, (*key, str(name)), path, places)
        return result
    if isinstance(raw, CommentedSeq):
        items: list[Any] = []
        for index, value in enumerate(raw):
            places[(*key, index)] = f"{path}:{raw.lc.item(index)[0] + 1}"
            items.append(_plain(value, (*key, index), path, places))
        return items
    return raw


def _problem(document: Document, item: Any) -> Problem:
    key: Key = tuple(item["loc"])
    name = ".".join(str(part) for part in key)
    if item["type"] == "extra_forbidden":
        return Problem(document.place(key), f"unknown key {name}", "remove it, or correct its spelling")
    if item["type"] == "missing":
        return Problem(document.place(key[:-1]), f"{name} is missing", "add it")
    return Problem(document.place(key), f"{name}: {item['msg']}", f"you wrote {item['input']!r}")
