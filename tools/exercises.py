"""Make and grade the course's assignments, from jupytext sources and with nbgrader's own machinery.

    python tools/exercises.py release SOURCE.py OUT.ipynb       what students get: no solutions, no hidden tests
    python tools/exercises.py solution SOURCE.py OUT.ipynb      the source as a notebook: for teachers only
    python tools/exercises.py outline SOURCE.py… OUT.json       what `aigc-grade check` compares a notebook with
    python tools/exercises.py grade SOURCE.py SUBMISSION.ipynb…  points of each check, as JSON

Everything happens in a temporary course folder with a gradebook of its own; nothing is left behind and nothing is
downloaded. Each submission is graded by itself: one that cannot be graded is named, with the reason, and costs the
others nothing. Where an answer in words was left empty, but may stand in a cell of the student's own, the entry says
which "needs a look". Grading runs the students' code with the rights of whoever calls it: trusted classes only.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import jupytext
import nbformat
import psutil
from clean_environment import clean_environment
from nbformat import NotebookNode
from nbgrader.converters import GenerateAssignment
from nbgrader.converters.base import BaseConverter
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import capture_log, compute_checksum
from sqlalchemy.exc import SAWarning
from traitlets.config import Config
from whole import write_whole

from aigc_course.grading.check import outline_of
from aigc_course.grading.notebooks import elsewhere, label, read, repaired

TOTAL = "total"
# nbgrader's names for the assignment, its only notebook and a course's only student, whatever the files are called.
NAME = "assignment"
STUDENT = "student"
# The variable of the environment by which the processes of a grading are known.
MARK = "AIGC_COURSE_GRADING"
# A `!pip install` in a submission must not change the teacher's environment: pip and uv find no Python and no index.
_NO_INSTALLING = {"PIP_PYTHON": os.devnull, "PIP_NO_INDEX": "1", "UV_PYTHON": os.devnull, "UV_OFFLINE": "1"}


def solution(source: Path) -> NotebookNode:
    """Return the notebook of a jupytext source, solutions and hidden tests included.

    Cell ids come from the grade_id, or from the position for cells without one, so equal sources give equal notebooks.
    Raises ValueError if a grade_id is not a valid cell id or occurs twice.
    """
    notebook = jupytext.read(source)
    notebook.metadata.pop("jupytext", None)  # about the source, not for the students
    ids = [label(cell, f"cell-{i}") for i, cell in enumerate(notebook.cells)]
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
        notebook = nbformat.read(root / "release" / NAME / f"{NAME}.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.rstrip()  # hidden tests leave blank lines behind
        if "checksum" in cell.metadata.get("nbgrader", {}):
            cell.metadata.nbgrader.checksum = compute_checksum(cell)
    return notebook


def grade(
    source: Path, submissions: Mapping[str, NotebookNode], seconds_per_cell: int = 30, jobs: int | None = None
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Run and grade notebooks that students sent; return their points, and the problems of those without points.

    The points are by student and grade_id. Answers that a person must grade have no entry, unless they were left empty
    and stand nowhere else: those have 0. The entry "total" is the sum of the others. The problems are by student, in
    words. Every student is in one of the two.

    Only the text and the labels of a student's cells are used. Everything else comes from the source: a check that was
    changed is restored, and one that was deleted is put back. Imports that were added to the cells at the beginning
    which are restored go into cells of their own. What code prints costs nothing, even on stderr.
    A cell that runs longer than `seconds_per_cell` is interrupted and fails. There are no points if it cannot be
    interrupted, if the kernel ends, if the notebook takes as long as ten such cells, or if an answer has no cell or
    two. `jobs` notebooks are run side by side; None stands for as many as there are processors.
    """
    solved = solution(source)
    points: dict[str, dict[str, float]] = {}
    problems: dict[str, str] = {}
    courses: dict[str, Path] = {}
    with _course(source) as (root, config):
        _run(GenerateAssignment, config)
        for i, (student, notebook) in enumerate(submissions.items()):
            course = root / "courses" / f"{i:06d}"
            try:
                mended = repaired(solved, notebook)
            except ValueError as error:
                problems[student] = str(error)
                continue
            write(mended, course / "submitted" / STUDENT / NAME / f"{NAME}.ipynb")
            shutil.copy(root / "gradebook.db", course)
            courses[student] = course
        if courses:
            program = Path(__file__).with_name("autograde.py")
            command = [sys.executable, program, root / "courses", seconds_per_cell, jobs or os.cpu_count() or 1]
            try:
                subprocess.run(
                    list(map(str, command)),
                    env={**os.environ, MARK: str(root)},
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    check=True,
                )
            finally:
                end_processes(root)
        for student, course in courses.items():
            result = json.loads((course / "result.json").read_text("utf-8"))
            if "points" in result:
                found = result["points"]
                for name in elsewhere(solved, submissions[student]):
                    found.pop(name, None)
                points[student] = {**found, TOTAL: sum(found.values())}
            else:
                problems[student] = result["problem"]
    return points, problems


def end_processes(folder: Path) -> None:
    """Kill the processes that a grading in this folder has started, those that went their own ways too."""
    for _ in range(10):  # one more may have started while they were looked for
        found = False
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # it has ended, or belongs to someone else
                if Path(process.environ().get(MARK, "/")).is_relative_to(folder):
                    process.kill()
                    found = True
        if not found:
            break


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook whole or not at all."""
    write_whole(path, nbformat.writes(notebook) + "\n")


@contextmanager
def _course(source: Path) -> Iterator[tuple[Path, Config]]:
    """A temporary nbgrader course with one assignment; the process's environment is put back afterwards."""
    before = os.environ.copy()
    # The kernels' sockets lie in it, and the path of a socket has at most 103 bytes.
    usual = Path(tempfile.gettempdir()).resolve()
    place = usual if len(os.fsencode(usual)) <= 60 else Path("/tmp")
    # A student's code can leave files that vanish while they are being removed.
    with tempfile.TemporaryDirectory(dir=place, ignore_cleanup_errors=True) as folder:
        root = Path(folder).resolve()
        variables = clean_environment(root / "settings")
        os.environ.clear()
        os.environ.update(variables | _NO_INSTALLING)
        try:
            write(solution(source), root / "source" / NAME / f"{NAME}.ipynb")
            config = Config()
            config.CourseDirectory.root = str(root)
            config.CourseDirectory.assignment_id = NAME
            yield root, config
        finally:
            os.environ.clear()
            os.environ.update(before)


def _run(converter: type[BaseConverter], config: Config) -> None:
    with warnings.catch_warnings():
        # nbgrader 0.9.6 relies on a cascade that SQLAlchemy 2 warns about; the gradebook is right all the same.
        warnings.simplefilter("ignore", SAWarning)
        outcome = capture_log(converter(coursedir=CourseDirectory(config=config), config=config))
    if not outcome["success"]:
        raise RuntimeError(f"nbgrader failed:\n{outcome.get('log', '')}\n{outcome['error']}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 if a submission could not be graded, else 0."""
    parser = argparse.ArgumentParser(description="Make and grade assignments with nbgrader.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in [("release", "make the students' notebook"), ("solution", "make the solved notebook")]:
        command = commands.add_parser(name, help=text)
        command.add_argument("source", type=_file, metavar="SOURCE.py")
        command.add_argument("out", type=Path, metavar="OUT.ipynb")
    command = commands.add_parser("grade", help="grade notebooks that students sent; points as JSON")
    command.add_argument("source", type=_file, metavar="SOURCE.py")
    command.add_argument("submissions", type=Path, nargs="+", metavar="SUBMISSION.ipynb")
    text = "a cell that takes longer is interrupted and fails; a notebook may take ten times as long (default: 30)"
    command.add_argument("--seconds-per-cell", type=_count, default=30, metavar="N", help=text)
    text = "how many notebooks are run side by side (default: as many as there are processors)"
    command.add_argument("--jobs", type=_count, metavar="N", help=text)
    command = commands.add_parser("outline", help="the cells of assignments and their kinds, as JSON")
    command.add_argument("sources", type=_file, nargs="+", metavar="SOURCE.py")
    command.add_argument("out", type=Path, metavar="OUT.json")
    options = parser.parse_args(arguments)
    if options.command == "outline":
        outlines = {source.stem: outline_of(release(source)) for source in options.sources}
        write_whole(options.out, json.dumps(outlines, indent=1) + "\n")
        return 0
    if options.command != "grade":
        make = {"release": release, "solution": solution}[options.command]
        write(make(options.source), options.out)
        return 0

    sent, unread = {}, {}
    for path in options.submissions:
        try:
            sent[str(path)] = read(path)
        except ValueError as error:
            unread[str(path)] = str(error)
    points, problems = grade(options.source, sent, options.seconds_per_cell, options.jobs)
    problems |= unread
    names = list(dict.fromkeys(map(str, options.submissions)))
    entries: dict[str, dict[str, object]] = {name: {"problem": problem} for name, problem in problems.items()}
    solved = solution(options.source)
    for name, found in points.items():
        looks = elsewhere(solved, sent[name])
        entries[name] = {**found, "needs a look": looks} if looks else {**found}
    print(json.dumps({name: entries[name] for name in names}, indent=2))
    if problems:
        print(f"{len(problems)} of {len(names)} submissions could not be graded:", file=sys.stderr)
        for name in names:
            if name in problems:
                print(f"{name}: {problems[name]}", file=sys.stderr)
    return int(bool(problems))


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return Path(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"takes a whole number from 1, got {text}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
