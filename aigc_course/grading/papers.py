"""Who was given what: with papers of their own (see `release`), students of one assignment have different notebooks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

# What the notebook of an assignment says that is nobody's own paper.
PUBLIC = "public"


class ReleaseError(ValueError):
    """Something is wrong with what students are or were given. The message says what, and what to do."""


@dataclass(frozen=True)
class Papers:
    """The papers of an assignment that `release_class` has written into a course's folder.

    Without papers, every student has the assignment as it stands in the repository.

    Args:
        assignment: Its name.
        course: The course's folder.
        students: For each student's id, which paper is theirs; None if there are no papers.
    """

    assignment: str
    course: Path
    students: Mapping[str, Mapping[str, Any]] | None

    @classmethod
    def read(cls, assignment: str, course: Path) -> "Papers":
        """Return the papers of an assignment.

        Raises:
            ReleaseError: if the file that lists them cannot be read.
        """
        path = course / "papers" / assignment / "papers.json"
        if not path.exists():
            return cls(assignment, course, None)
        try:
            return cls(assignment, course, dict(json.loads(path.read_bytes())["students"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ReleaseError(
                f"{path} cannot be read ({type(error).__name__}: {error}): run `aigc-grade release` again"
            ) from error

    def root(self, student: str, root: Path) -> Path:
        """Return the folder in which a student's paper has its files: the repository's, if there are no papers.

        Raises:
            ReleaseError: if the others have papers, and this student has none.
        """
        if self.students is None:
            return root
        if student not in self.students:
            raise ReleaseError(
                f"there is no paper for {student}: put them on the roster, and run `aigc-grade release` with it again"
            )
        return self.course / "papers" / self.assignment / student

    def given(self, student: str) -> Path:
        """Return where the notebook is that a student is given."""
        return self.course / "release" / self.assignment / student / f"{self.assignment}.ipynb"

    def notebook(self, student: str, release: NotebookNode) -> NotebookNode:
        """Return the notebook that a student was given: `release`, if they have no paper of their own.

        Raises:
            ReleaseError: if it cannot be read.
        """
        if self.students is None or student not in self.students:
            return release
        try:
            return nbformat.read(self.given(student), as_version=4)
        except Exception as error:  # a missing file, no JSON, no notebook: nbformat has many ways to say so
            raise ReleaseError(
                f"{self.given(student)} cannot be read ({type(error).__name__}): run `aigc-grade release` again"
            ) from error


def mark(notebook: NotebookNode) -> str:
    """Return which paper a notebook says it is: `PUBLIC`, a student's own, or "" if it says nothing."""
    about = notebook.metadata.get("aigc_course", {})
    return str(about.get("paper", "")) if isinstance(about, dict) else ""
