"""Make the course's assignments, from jupytext sources and with nbgrader's own machinery.

python tools/exercises.py release SOURCE.py OUT.ipynb       what students get: no solutions, no hidden tests
python tools/exercises.py solution SOURCE.py OUT.ipynb      the source as a notebook: for teachers only
python tools/exercises.py outline SOURCE.py… OUT.json       what `aigc-grade check` compares a notebook with
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from whole import write_whole

from aigc_course.grading.check import Outline, outline_of
from aigc_course.grading.release import FILES, knobs, released, solved, varied


def solution(source: Path) -> NotebookNode:
    """Return the notebook of a jupytext source, solutions and hidden tests included."""
    return _made(solved, source)


def release(source: Path) -> NotebookNode:
    """Return the students' version of a jupytext source, as `nbgrader generate_assignment` makes it."""
    return _made(released, source)


def outline(source: Path) -> Outline:
    """Return the outline of an assignment, with what its students' papers may have in their cells."""
    variants, text = knobs(source.stem, source.resolve().parents[2]), source.read_text("utf-8")
    texts = {**dict.fromkeys(FILES, ""), "source": text}
    several = [
        varied(texts, {knob: {name: {"source": option.get("source", ())}}}, {knob: name})["source"]
        for knob, options in variants.items()
        for name, option in options.items()
    ]
    return outline_of(*map(released, [text, *several]))


def _made(make: Callable[[str], NotebookNode], source: Path) -> NotebookNode:
    try:
        return make(source.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Make assignments.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in [("release", "make the students' notebook"), ("solution", "make the solved notebook")]:
        command = commands.add_parser(name, help=text)
        command.add_argument("source", type=_file, metavar="SOURCE.py")
        command.add_argument("out", type=Path, metavar="OUT.ipynb")
    command = commands.add_parser("outline", help="the cells of assignments and their kinds, as JSON")
    command.add_argument("sources", type=_file, nargs="+", metavar="SOURCE.py")
    command.add_argument("out", type=Path, metavar="OUT.json")
    options = parser.parse_args(arguments)
    if options.command == "outline":
        outlines = {source.stem: outline(source) for source in options.sources}
        write_whole(options.out, json.dumps(outlines, indent=1) + "\n")
    else:
        make = {"release": release, "solution": solution}[options.command]
        write_whole(options.out, nbformat.writes(make(options.source)) + "\n")


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return Path(text)


if __name__ == "__main__":
    main()
