"""Answers in words, read by a person in nbgrader's formgrader: in random order, without names, beside the rubric.

`course/review/<assignment>/` is a course of nbgrader's, made from what was taken in. What is typed there ends in
`course/by_hand/<assignment>.csv`, and what stands in that file is shown there.
"""

import hashlib
import os
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from sqlalchemy.exc import SAWarning

from aigc_course.grading import marking
from aigc_course.grading.batch import MarkingError, only_one, taken_in
from aigc_course.grading.intake import write, write_json
from aigc_course.grading.notebooks import PLACEHOLDER, label, read
from aigc_course.grading.papers import Papers, ReleaseError
from aigc_course.grading.report import BY_HAND, read_by_hand, table

_SETTINGS = "c = get_config()\nc.CourseDirectory.root = {root!r}\nc.CourseDirectory.course_id = {name!r}\n"


class ServerError(RuntimeError):
    """Jupyter's server did not run."""


def prepare(assignment: str, course: Path, root: Path = Path()) -> int:
    """Make nbgrader's course for an assignment, or bring it up to date; return how many answers wait for a reader.

    Scores and comments typed earlier stay, and those of `course/by_hand/<assignment>.csv` are entered.

    Raises:
        MarkingError: if something that is needed is not there, or is in use.
    """
    students = taken_in(assignment, course)
    try:
        rules, papers = marking.Assignment.load(assignment, root), Papers.read(assignment, course)
    except (FileNotFoundError, ReleaseError) as error:
        raise MarkingError(str(error)) from error
    if not rules.by_hand:
        raise MarkingError(f"no answer of {assignment} is read by a person")
    collect(assignment, course)
    known = read_by_hand(course / "by_hand" / f"{assignment}.csv", rules.by_hand)
    folder = course / "review" / assignment
    waiting = 0
    with only_one(folder), _gradebook(folder) as gradebook:
        settings = _SETTINGS.format(root=str(folder.resolve()), name=assignment)
        write(folder / "nbgrader_config.py", settings.encode())
        gradebook.update_or_create_assignment(assignment)
        gradebook.update_or_create_notebook(assignment, assignment)
        for name, points in rules.by_hand.items():
            about = (name, assignment, assignment)
            gradebook.update_or_create_grade_cell(*about, max_score=points, cell_type="markdown")
            gradebook.update_or_create_solution_cell(*about)
        for student, path in students.items():
            if path is None:
                continue
            answers = {label(cell): cell.source for cell in read(path).cells if label(cell) in rules.by_hand}
            place = folder / "autograded" / pseudonym(student) / assignment / f"{assignment}.ipynb"
            # Their paper's question, model answer and rubric; everybody's, if they have none.
            own = papers.root(student, root) if student in (papers.students or {}) else root
            solved = rules.solved if own == root else marking.Assignment.load(assignment, own).solved
            write(place, nbformat.writes(_sheet(solved, answers)).encode("utf-8", "replace"))
            gradebook.update_or_create_student(pseudonym(student))
            gradebook.update_or_create_submission(assignment, pseudonym(student))
            for name in rules.by_hand:
                entry = (name, assignment, assignment, pseudonym(student))
                grade, comment = gradebook.find_grade(*entry), gradebook.find_comment(*entry)
                empty = answers.get(name, "").strip() in ("", PLACEHOLDER)
                if name in known.get(student, {}):
                    grade.manual_score, comment.manual_comment = known[student][name]
                grade.needs_manual_grade = grade.manual_score is None and not empty
                grade.auto_score = 0 if empty else None
                waiting += grade.needs_manual_grade
        gradebook.db.commit()
    return waiting


def collect(assignment: str, course: Path) -> None:
    """Put what was typed in formgrader into `course/by_hand/<assignment>.csv`, beside what stands there already.

    Raises:
        MarkingError: if that file has points that cannot be.
    """
    folder, target = course / "review" / assignment, course / "by_hand" / f"{assignment}.csv"
    if not (folder / "gradebook.db").exists():
        return
    students = {pseudonym(student): student for student in taken_in(assignment, course)}
    with _gradebook(folder) as gradebook:
        cells = gradebook.find_notebook(assignment, assignment).grade_cells
        scores = read_by_hand(target, {cell.name: cell.max_score for cell in cells})
        for submission in gradebook.assignment_submissions(assignment):
            student = students.get(submission.student.id, "")
            for grade in submission.notebooks[0].grades if student else ():
                if grade.manual_score is not None:
                    entry = (grade.name, assignment, assignment, submission.student.id)
                    said = gradebook.find_comment(*entry).manual_comment or ""
                    scores.setdefault(student, {})[grade.name] = grade.manual_score, said
    rows = [
        {"student": student, "question": name, "points": f"{points:g}", "comment": comment}
        for student, answers in sorted(scores.items())
        for name, (points, comment) in sorted(answers.items())
    ]
    if rows:
        write(target, table(BY_HAND, rows))


def serve(assignment: str, course: Path, port: int, browser: bool = True) -> None:
    """Show formgrader until it is stopped.

    Raises:
        ServerError: if the server ended with an error.
    """
    folder = (course / "review" / assignment).resolve()
    settings = {
        "ip": "127.0.0.1",
        "port": port,
        "root_dir": str(folder),
        "default_url": f"/formgrader/gradebook/{assignment}/{assignment}",
        "open_browser": browser,
        "allow_root": True,  # in a container; no code is run here
        "terminals_enabled": False,
        "jpserver_extensions": {"nbgrader.server_extensions.formgrader": True},
    }
    # Without a path, the cookie that formgrader's first page sets would be for that page alone.
    content = {"ServerApp": settings, "IdentityProvider": {"cookie_options": {"path": "/"}}}
    write_json(folder / "settings" / "jupyter_server_config.json", content)
    command = [sys.executable, "-m", "jupyter", "server"]
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(folder / "settings")}
    with subprocess.Popen(command, cwd=folder, env=environment) as server:
        try:
            server.wait()
        except KeyboardInterrupt:  # the server hears it, too, and asks whether it is meant
            server.terminate()
            server.wait()
        if server.returncode > 0:
            raise ServerError("Jupyter's server did not run; what it said stands above")


def pseudonym(student: str) -> str:
    """Return the name under which a student's answers are read. It decides the order, too."""
    return f"student-{hashlib.sha256(student.encode()).hexdigest()[:12]}"


def _sheet(solved: NotebookNode, answers: dict[str, str]) -> NotebookNode:
    """Return what a reader sees: each question, the model answer with its rubric, and the student's answer.

    The answer is shown as plain text: formgrader would run a script in its Markdown.
    """
    sheet = nbformat.v4.new_notebook()
    question = ""
    for number, cell in enumerate(solved.cells):
        name = label(cell)
        if name in answers:
            lines = [wrapped for line in answers[name].splitlines() for wrapped in textwrap.wrap(line, 90) or [""]]
            fence = "~" * (3 + max((len(line) for line in lines if set(line.strip()) == {"~"}), default=0))
            text = "\n".join([f"{fence}text", *lines, fence])
            for i, source in enumerate((question, cell.source)):
                sheet.cells.append(nbformat.v4.new_markdown_cell(source, id=f"about-{number}-{i}"))
            answer = nbformat.v4.new_markdown_cell(text, id=name, metadata={"nbgrader": dict(cell.metadata.nbgrader)})
            sheet.cells.append(answer)
        elif cell.cell_type == "markdown":
            question = cell.source
    return sheet


@contextmanager
def _gradebook(folder: Path) -> Iterator[Any]:
    before = os.environ.get("PATH", "")
    # nbgrader calls a program by its bare name, which lies beside Python.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{before}"
    with warnings.catch_warnings():
        # nbgrader 0.9.6 relies on a cascade that SQLAlchemy 2 warns about; the gradebook is right all the same.
        warnings.simplefilter("ignore", SAWarning)
        try:
            with Gradebook(f"sqlite:///{folder.resolve() / 'gradebook.db'}") as gradebook:
                yield gradebook
        finally:
            os.environ["PATH"] = before
