"""`yiyun init`: an estate file to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.contract import JsonOption, QuietOption, reporting
from infra.errors import BadInputError, RefusedError
from infra.estate.loading import find_estate_file, load_estate


def init(
    file: Annotated[Path, typer.Argument(help="The estate file to write.")],
    base: Annotated[
        str, typer.Option("--from", help="Shipped estate to start from: lab or yucheng.")
    ] = "lab",
    name: Annotated[str, typer.Option(help="Name of the new estate; the file's own by default.")] = "",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write an estate file that extends a shipped one. Never overwrites."""
    with reporting("init", base, json_output, quiet) as report:
        find_estate_file(base)
        if file.exists():
            raise RefusedError(f"{file} exists already", hint="choose another name")
        if file.suffix not in {".yaml", ".yml"}:
            raise BadInputError(f"{file} is not a .yaml file", hint=f"yiyun init {file}.yaml")
        estate_name = name or file.stem
        head = f"# Extends the estate `{base}`: write what differs; lists of named things merge by name."
        file.write_text(f"{head}\nestate: {estate_name}\nextends: {base}\n", encoding="utf-8")
        load_estate(str(file))
        report.fields |= {"file": str(file), "base": base}
        report.say(f"wrote {file}; next: yiyun preview --estate {file}")
