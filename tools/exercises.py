"""Make and grade the course's assignments, from jupytext sources and with nbgrader's own machinery.

    python tools/exercises.py release SOURCE.py OUT.ipynb       what students get: no solutions, no hidden tests
    python tools/exercises.py solution SOURCE.py OUT.ipynb      the source as a notebook: for teachers only
    python tools/exercises.py grade SOURCE.py SUBMISSION.ipynb…  points of each check, as JSON

Everything happens in a temporary course folder with a gradebook of its own; nothing is left behind and nothing is
downloaded. Grading runs the students' code with the rights of whoever calls it: trusted classes only.
"""

import argparse
import json
import os
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import jupytext
import nbformat
from clean_environment import clean_environment
from nbformat import NotebookNode
from nbformat.warnings import MissingIDFieldWarning
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde, GenerateAssignment
from nbgrader.converters.base import BaseConverter
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import capture_log, compute_checksum
from sqlalchemy.exc import SAWarning
from traitlets.config import Config

TOTAL = "total"
# nbgrader's names for the assignment, its only notebook, and (numbered) the students: whatever the files are called.
_NAME = "assignment"
_STUDENT = "student{:04d}"


def solution(source: Path) -> NotebookNode:
    """Return the notebook of a jupytext source, solutions and hidden tests included.

    Cell ids come from the grade_id, or from the position for cells without one, so equal sources give equal notebooks.
    Raises ValueError if a grade_id is not a valid cell id or occurs twice.
    """
    notebook = jupytext.read(source)
    notebook.metadata.pop("jupytext", None)  # about the source, not for the students
    ids = [_label(cell, f"cell-{i}") for i, cell in enumerate(notebook.cells)]
    wrong = sorted(name for name, count in Counter(ids).items() if count > 1 or not re.fullmatch(r"[\w-]{1,64}", name))
    if wrong:
        raise ValueError(f"{source}: each grade_id must be unique and made of letters, digits, - and _; got {wrong}")
    for cell, name in zip(notebook.cells, ids, strict=True):
        cell.id = name
    return notebook


def release(source: Path) -> NotebookNode:
    """Return the students' version of a jupytext source, as `nbgrader generate_assignment` makes it."""
    with _course(source) as (root, config):
        config.GenerateAssignment.no_database = True
        config.SaveCells.enabled = False
        _run(GenerateAssignment, config)
        notebook = nbformat.read(root / "release" / _NAME / f"{_NAME}.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.rstrip()  # hidden tests leave blank lines behind
        if "checksum" in cell.metadata.get("nbgrader", {}):
            cell.metadata.nbgrader.checksum = compute_checksum(cell)
    return notebook


def grade(
    source: Path, submissions: Mapping[str, NotebookNode], seconds_per_cell: int = 30
) -> dict[str, dict[str, float]]:
    """Run and grade notebooks that students sent; return their points, by student and grade_id.

    A check that was deleted is put back, and one that was changed is restored. Answers that a person must grade have no
    entry, unless they were left empty: those have 0. The entry "total" is the sum of the others.
    A cell that runs longer than `seconds_per_cell` is interrupted and fails.
    Raises ValueError, before anything runs, if a notebook lacks a cell for an answer or has a labelled cell twice:
    nbgrader would stop, or silently give 0.
    """
    _check_labels(solution(source), submissions)
    students = {_STUDENT.format(i): name for i, name in enumerate(submissions)}
    with _course(source) as (root, config):
        _run(GenerateAssignment, config)
        for student, name in students.items():
            write(submissions[name], root / "submitted" / student / _NAME / f"{_NAME}.ipynb")
        config.CourseDirectory.student_id = "*"
        config.OverwriteCells.add_missing_cells = True
        config.Execute.timeout = seconds_per_cell
        config.Execute.shutdown_kernel = "immediate"  # nothing is left to save; waiting took a third of the time
        _run(Autograde, config)
        points: dict[str, dict[str, float]] = {}
        with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as gradebook:
            for student, name in students.items():
                grades = gradebook.find_submission_notebook(_NAME, _NAME, student).grades
                points[name] = {g.name: g.auto_score for g in grades if g.auto_score is not None}
                points[name][TOTAL] = sum(points[name].values())
    return points


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook whole or not at all: under a temporary name beside `path`, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.ipynb")
    try:
        temporary.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _label(cell: NotebookNode, default: str = "") -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", default)


def _check_labels(source: NotebookNode, submissions: Mapping[str, NotebookNode]) -> None:
    answers = [c.metadata.nbgrader.grade_id for c in source.cells if c.metadata.get("nbgrader", {}).get("solution")]
    problems = []
    for student, notebook in submissions.items():
        found = Counter(map(_label, notebook.cells))
        problems += [f"{student}: no cell is labelled {name!r}" for name in answers if not found[name]]
        problems += [
            f"{student}: {count} cells are labelled {name!r}" for name, count in found.items() if name and count > 1
        ]
    if problems:
        raise ValueError("repair these notebooks, then grade again:\n" + "\n".join(problems))


@contextmanager
def _course(source: Path) -> Iterator[tuple[Path, Config]]:
    """A temporary nbgrader course with one assignment; the process's environment is put back afterwards."""
    before = os.environ.copy()
    # A student's code can leave files that vanish while they are being removed.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        root = Path(folder).resolve()
        variables = clean_environment(root / "settings")
        os.environ.clear()
        os.environ.update(variables)
        try:
            write(solution(source), root / "source" / _NAME / f"{_NAME}.ipynb")
            config = Config()
            config.CourseDirectory.root = str(root)
            config.CourseDirectory.assignment_id = _NAME
            yield root, config
        finally:
            os.environ.clear()
            os.environ.update(before)


def _run(converter: type[BaseConverter], config: Config) -> None:
    with warnings.catch_warnings():
        # nbgrader 0.9.6 relies on a cascade that SQLAlchemy 2 warns about; the gradebook is right all the same.
        warnings.simplefilter("ignore", SAWarning)
        # A check that it puts back has no cell id; nbformat warns, then makes one.
        warnings.simplefilter("ignore", MissingIDFieldWarning)
        outcome = capture_log(converter(coursedir=CourseDirectory(config=config), config=config))
    if not outcome["success"]:
        raise RuntimeError(f"nbgrader failed:\n{outcome.get('log', '')}\n{outcome['error']}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Make and grade assignments with nbgrader.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in [("release", "make the students' notebook"), ("solution", "make the solved notebook")]:
        command = commands.add_parser(name, help=text)
        command.add_argument("source", type=Path, metavar="SOURCE.py")
        command.add_argument("out", type=Path, metavar="OUT.ipynb")
    command = commands.add_parser("grade", help="grade notebooks that students sent; points as JSON")
    command.add_argument("source", type=Path, metavar="SOURCE.py")
    command.add_argument("submissions", type=Path, nargs="+", metavar="SUBMISSION.ipynb")
    options = parser.parse_args(arguments)
    if options.command == "grade":
        sent = {str(path): nbformat.read(path, as_version=4) for path in options.submissions}
        print(json.dumps(grade(options.source, sent), indent=2))
    else:
        make = {"release": release, "solution": solution}[options.command]
        write(make(options.source), options.out)


if __name__ == "__main__":
    main()
