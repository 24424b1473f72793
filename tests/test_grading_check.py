"""What a student's own check finds: what is missing or damaged, and nothing about what is right."""

import copy
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from test_exercises import assignment_of
from typer.testing import CliRunner

from aigc_course.grading import check
from aigc_course.grading.cli import app
from aigc_course.grading.notebooks import label


def answered() -> NotebookNode:
    notebook = copy.deepcopy(assignment_of("vae").released)
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = "def f():\n    return 1  # wrong" if cell.cell_type == "code" else "Words."
    return notebook


def cell(notebook: NotebookNode, name: str) -> NotebookNode:
    return next(each for each in notebook.cells if label(each) == name)


def put(name: str, source: str) -> Callable[[NotebookNode], None]:
    return lambda notebook: cell(notebook, name).update(source=source)


def without(name: str) -> Callable[[NotebookNode], None]:
    return lambda notebook: notebook.cells.remove(cell(notebook, name))


def twice(name: str) -> Callable[[NotebookNode], None]:
    return lambda notebook: notebook.cells.append(NotebookNode(copy.deepcopy(cell(notebook, name)), id="another"))


def below(name: str, other: str) -> Callable[[NotebookNode], None]:
    def change(notebook: NotebookNode) -> None:
        moved = cell(notebook, name)
        notebook.cells.remove(moved)
        notebook.cells.insert(notebook.cells.index(cell(notebook, other)) + 1, moved)

    return change


def handed_back(notebook: NotebookNode) -> None:
    cell(notebook, "kl").source = cell(assignment_of("vae").released, "kl").source + "  \r\n"


@pytest.mark.parametrize(
    ("change", "problems", "notes"),
    [
        (lambda notebook: None, [], []),
        (handed_back, ["the answer 'kl' is as it was handed out"], []),
        (put("kl", "def f(:"), ["the answer 'kl' is not Python: line 1"], []),
        (put("kl", "%time x = 1"), [], []),
        (put("kl", " \n"), ["the answer 'kl' is empty"], []),
        (put("words", "YOUR ANSWER HERE"), ["the answer 'words' is empty"], []),
        (without("kl"), ["the answer 'kl' has no cell"], []),
        (twice("kl"), ["the answer 'kl' has 2 cells: keep one"], []),
        (below("kl", "kl-value"), ["the answer 'kl' stands below its check: move it up"], []),
        (without("kl-value"), [], ["the cell 'kl-value', which belongs to the assignment, was deleted"]),
        (put("kl-value", "pass"), [], ["the cell 'kl-value', which belongs to the assignment, was changed"]),
        (twice("setup"), [], ["the cell 'setup', which belongs to the assignment, was copied"]),
    ],
)
def test_what_is_missing_or_damaged_is_named(
    change: Callable[[NotebookNode], None], problems: list[str], notes: list[str], tmp_path: Path
) -> None:
    notebook = answered()
    change(notebook)
    nbformat.write(notebook, tmp_path / "vae (1).ipynb")
    found = check.check(tmp_path / "vae (1).ipynb")
    assert (found.assignment, found.problems, found.notes) == ("vae", problems, notes)
    missing = [problem for problem in problems if "below" not in problem]
    assert found.whole == found.answers - len(missing) == 9 - len(missing)
    result = CliRunner().invoke(app, ["check", str(tmp_path / "vae (1).ipynb")])
    assert result.exit_code == bool(problems)
    for text in problems + notes:
        assert text in " ".join(result.output.split())


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text("%PDF-1.4")
    result = CliRunner().invoke(app, ["check", str(tmp_path / "a.ipynb")])
    assert result.exit_code == 2
    assert "a PDF" in result.output
    (tmp_path / "d.ipynb").write_text(
        nbformat.writes(answered()).replace('"nbgrader": {', '"nbgrader": null, "x": {', 1)
    )
    with pytest.raises(ValueError, match="the notebook is damaged"):
        check.check(tmp_path / "d.ipynb")
    notebook = answered()
    for each in notebook.cells:
        each.metadata.pop("nbgrader", None)
    nbformat.write(notebook, tmp_path / "b.ipynb")
    with pytest.raises(ValueError, match="no cell has a label"):
        check.check(tmp_path / "b.ipynb")
    nbformat.write(answered(), tmp_path / "c.ipynb")
    with pytest.raises(ValueError, match="there is no assignment 'vea'; there are diffusion, gan"):
        check.check(tmp_path / "c.ipynb", "vea")
    with pytest.raises(ValueError, match="a notebook of the assignment vae, not of rl"):
        check.check(tmp_path / "c.ipynb", "rl")
