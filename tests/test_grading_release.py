"""Each student has a paper of their own: every option of every knob of every assignment is solved and marked."""

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest
from nbformat import NotebookNode
from test_grading_marking import as_before, here  # noqa: F401 a fixture
from typer.testing import CliRunner

from aigc_course.grading import batch, marking, release, report
from aigc_course.grading.cli import app
from aigc_course.grading.intake import Roster, Student, intake
from aigc_course.grading.marking import Assignment
from aigc_course.grading.notebooks import label, python, read
from aigc_course.grading.papers import PUBLIC, Papers, ReleaseError, mark

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
NAMES = ["diffusion", "gan", "language", "rl", "vae"]
SEED = "a seed that nobody knew"


@cache
def texts_of(name: str) -> dict[str, str]:
    places = zip(release.FILES, marking.files(name, ROOT), strict=True)
    return {file: path.read_text("utf-8") for file, path in places}


def written(name: str, chosen: dict[str, str], folder: Path) -> Assignment:
    """Write a paper's files into a folder, and load them."""
    texts = release.varied(texts_of(name), release.knobs(name, ROOT), chosen)
    for file, path in zip(release.FILES, marking.files(name, ROOT), strict=True):
        place = folder / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(texts[file], "utf-8")
    return Assignment.load(name, folder)


def answers_in(solved: NotebookNode) -> dict[str, str]:
    cells = [cell for cell in solved.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    return {label(cell): cell.source for cell in cells if cell.cell_type == "code"}


def handed_in(assignment: Assignment, codes: dict[str, str]) -> NotebookNode:
    notebook = jupytext.reads(jupytext.writes(assignment.solved, fmt="py:percent"), fmt="py:percent")
    for cell in notebook.cells:
        if label(cell) in codes:
            cell.source = codes[label(cell)]
    return notebook


def options_of(name: str) -> list[dict[str, str]]:
    """Papers in which every option of every knob is there at least once, but for the assignment as it stands."""
    found = {knob: list(options)[1:] for knob, options in release.knobs(name, ROOT).items()}
    return [
        {knob: options[min(i, len(options) - 1)] for knob, options in found.items()}
        for i in range(max(map(len, found.values())))
    ]


PAPERS = [(name, number) for name in NAMES for number in range(len(options_of(name)))]


@pytest.mark.parametrize("name", NAMES)
def test_every_knob_has_options_and_the_first_is_the_assignment_as_it_stands(name: str) -> None:
    found = release.knobs(name, ROOT)
    assert len(found) >= 3
    for options in found.values():
        assert len(options) >= 2
        assert not any(options[next(iter(options))].values())
        assert all(set(option) <= set(release.FILES) for option in options.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_option_by_itself_has_another_solution(name: str) -> None:
    before = answers_in(release.solved(texts_of(name)["source"]))
    for knob, options in release.knobs(name, ROOT).items():
        for option in list(options)[1:]:
            texts = release.varied(texts_of(name), release.knobs(name, ROOT), {knob: option})
            assert answers_in(release.solved(texts["source"])) != before, f"{knob}: {option}"
            for file in ("asks", "rules", "wrong"):
                compile(texts[file], file, "exec")


@pytest.mark.parametrize("name", NAMES)
def test_knobs_do_not_touch_each_others_text(name: str) -> None:
    variants = release.knobs(name, ROOT)
    for chosen in options_of(name):
        backwards = dict(reversed(chosen.items()))
        assert release.varied(texts_of(name), variants, chosen) == release.varied(texts_of(name), variants, backwards)


@pytest.mark.parametrize(("name", "number"), PAPERS)
def test_paper_is_solved_and_copied_answers_are_wrong(
    name: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, paper = Assignment.load(name, ROOT), written(name, options_of(name)[number], tmp_path)
    # What is visible passes too: the notebook runs from top to bottom with the solution, hidden tests and all.
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")  # what only shows something is skipped
    names: dict[str, Any] = {"__name__": "__main__", "display": lambda *_: None}
    for cell in paper.solved.cells:
        if cell.cell_type == "code":
            exec(compile(python(cell.source), f"<{label(cell)}>", "exec"), names)
    assert paper.mark(paper.solved, SEED, here) == marking.Marked(paper.full)
    assert (paper.full, paper.by_hand) == (usual.full, usual.by_hand)
    # Everything from the public solution: points are lost in each question that is another one, and in no other.
    before, after = answers_in(usual.solved), answers_in(paper.solved)
    copied = paper.mark(handed_in(paper, before), SEED, here)
    lost = {paper.question(check) for check in paper.full if copied.points[check] < paper.full[check]}
    assert lost == {question for question in before if before[question] != after[question]}
    given = nbformat.writes(release.released((tmp_path / "notebooks" / "exercises" / f"{name}.py").read_text("utf-8")))
    assert "BEGIN SOLUTION" not in given
    assert "HIDDEN TESTS" not in given


@pytest.mark.parametrize(("name", "number"), PAPERS)
def test_known_wrong_answers_are_as_wrong_in_a_paper(name: str, number: int, tmp_path: Path) -> None:
    """The k-th wrong answers of all questions that are other ones are handed in together."""
    usual, paper = Assignment.load(name, ROOT), written(name, options_of(name)[number], tmp_path)
    before, after = answers_in(usual.solved), answers_in(paper.solved)
    touched = {each: paper.wrong[each] for each in before if before[each] != after[each]}
    for k in range(max(map(len, touched.values()))):
        wrong = {question: given[k] for question, given in touched.items() if k < len(given)}
        marked = paper.mark(handed_in(paper, {question: code for question, (_, code, _) in wrong.items()}), SEED, here)
        expected = {**paper.full}
        for _, _, points in wrong.values():
            expected |= points
        assert marked.points == expected, {question: what for question, (what, _, _) in wrong.items()}


# --- the order of the statements --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("order", ["JIHGFEDCBA", "BADCFEHGJI", "CJAEIBGFDH"])
def test_statements_in_another_order(name: str, order: str, tmp_path: Path) -> None:
    usual, paper = Assignment.load(name, ROOT), written(name, {release.ORDER: order}, tmp_path)

    def true_ones(assignment: Assignment) -> set[str]:
        text = "\n".join(cell.source for cell in assignment.solved.cells if cell.cell_type == "markdown")
        found = dict(re.findall(r"^- \*\*([A-J])\*\* (.*(?:\n  .*)*)", text, re.MULTILINE))
        assert len(found) == 10
        names: dict[str, Any] = {}
        exec(answers_in(assignment.solved)["mistakes"], names)
        return {found[letter] for letter in names["mistakes"]()}

    assert true_ones(paper) == true_ones(usual)
    question = {"mistakes": answers_in(paper.solved)["mistakes"]}
    full = {check: points for check, points in paper.full.items() if paper.question(check) == "mistakes"}
    for what, code, points in [("the solution", question["mistakes"], full), *paper.wrong["mistakes"]]:
        marked = paper.mark(handed_in(paper, {"mistakes": code}), SEED, here)
        assert {check: marked.points[check] for check in points} == points, what


# --- who gets what ----------------------------------------------------------------------------------------------------


def test_choice_is_the_same_again_and_fair() -> None:
    variants: release.Variants = {"one": {"a": {}, "b": {}, "c": {}}, "two": {"x": {}, "y": {}}}
    key = b"key"
    papers = [release.choice("vae", variants, f"s{i}", key) for i in range(3000)]
    assert papers == [release.choice("vae", variants, f"S{i}", key) for i in range(3000)]
    assert papers != [release.choice("vae", variants, f"s{i}", b"another") for i in range(3000)]
    assert papers != [release.choice("gan", variants, f"s{i}", key) for i in range(3000)]
    # Five standard deviations of a binomial distribution.
    for knob, options in variants.items():
        for count in Counter(paper[knob] for paper in papers).values():
            share = 1 / len(options)
            assert abs(count - 3000 * share) < 5 * (3000 * share * (1 - share)) ** 0.5
    both = Counter((paper["one"], paper["two"]) for paper in papers)
    assert all(abs(count - 500) < 5 * (500 * 5 / 6) ** 0.5 for count in both.values())
    orders = Counter(paper[release.ORDER][0] for paper in papers)
    assert all(abs(count - 300) < 5 * 270**0.5 for count in orders.values())
    assert all(sorted(paper[release.ORDER]) == list(release.LETTERS) for paper in papers)


# --- a class with papers of their own ---------------------------------------------------------------------------------


CLASS = [Student(name, name.title(), "") for name in ("ada", "bob", "cem", "dov", "eve")]


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course whose students answered: their own paper, somebody else's, the public one, on the public notebook."""
    course = tmp_path_factory.mktemp("course")
    release.release_class("vae", course, Roster(CLASS), ROOT)
    papers = Papers.read("vae", course)
    public = release.solved(texts_of("vae")["source"])

    def solution(student: str) -> NotebookNode:
        path = papers.root(student, ROOT) / "notebooks" / "exercises" / "vae.py"
        return release.solved(path.read_text("utf-8"))

    def answered(given: NotebookNode, solved: NotebookNode) -> NotebookNode:
        answers = {label(cell): cell.source for cell in solved.cells if label(cell)}
        for cell in given.cells:
            if cell.metadata.get("nbgrader", {}).get("solution"):
                cell.source = answers[label(cell)]
        return given

    sent = {
        "ada": answered(read(papers.given("ada")), solution("ada")),
        "bob": answered(read(papers.given("bob")), solution("ada")),
        "cem": answered(read(papers.given("cem")), public),
        "dov": answered(release.released(texts_of("vae")["source"]), public),
        "eve": answered(read(papers.given("ada")), solution("eve")),
    }
    for student, notebook in sent.items():
        (course / "sent" / student).mkdir(parents=True)
        nbformat.write(notebook, course / "sent" / student / "vae.ipynb")
    release_of_all = release.released(texts_of("vae")["source"])
    intake("vae", course / "sent", release_of_all, course, Roster(CLASS))
    return course


def test_papers_differ_and_stay_as_they_are(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    papers = Papers.read("vae", course)
    assert papers.students is not None
    texts = {student: papers.given(student).read_bytes() for student in papers.students}
    assert len(set(texts.values())) == len(CLASS)
    assert len({mark(read(papers.given(student))) for student in texts} | {PUBLIC}) == len(CLASS) + 1
    listed = (course / "papers" / "vae" / "papers.json").read_bytes()
    # One more comes, and everybody else has the paper that they had, even if there is another option by then.
    more: release.Variants = {knob: {**options, "one more": {}} for knob, options in release.knobs("vae", ROOT).items()}
    monkeypatch.setattr(release, "knobs", lambda *_: more)
    release.release_class("vae", course, Roster([*CLASS, Student("fay", "Fay", "")]), ROOT)
    assert {student: papers.given(student).read_bytes() for student in texts} == texts
    release.release_class("vae", course, Roster(CLASS[:2]), ROOT)
    kept = Papers.read("vae", course).students
    assert kept is not None
    assert sorted(kept) == [*sorted(texts), "fay"]
    assert {name: kept[name] for name in texts} == json.loads(listed)["students"]


def test_everybody_is_marked_by_their_own_paper(course: Path) -> None:
    marked = dict(batch.mark_class("vae", course, ROOT, jobs=1, sandboxed=False))
    share = {student: sum(one["points"].values()) / sum(one["full"].values()) for student, one in marked.items()}
    assert not any(one["problem"] for one in marked.values())
    assert share["ada"] == share["eve"] == 1
    assert max(share["bob"], share["cem"], share["dov"]) < 0.8
    assert dict(batch.mark_class("vae", course, ROOT, jobs=1, sandboxed=False)) == marked  # known, none anew
    looks = json.loads((course / "submitted" / "vae" / "report.json").read_bytes())["students"]
    another = "it was made from another notebook than the one that this student was given"
    assert [student for student, about in looks.items() if another in about["look"]] == ["dov", "eve"]
    marks = {each.id: each for each in report.report("vae", course, ROOT, Roster(CLASS))}
    assert not any(each.problem for each in marks.values())
    assert (course / "reports" / "vae" / "class.html").exists()


def test_student_without_a_paper_is_named(course: Path, tmp_path: Path) -> None:
    release.release_class("vae", tmp_path, Roster(CLASS[:1]), ROOT)
    intake("vae", course / "sent", release.released(texts_of("vae")["source"]), tmp_path, Roster(CLASS))
    papers = Papers.read("vae", tmp_path)
    with pytest.raises(ReleaseError, match="there is no paper for bob: put them on the roster"):
        papers.root("bob", ROOT)
    (tmp_path / "submitted" / "vae" / "ada" / "intake.json").unlink()
    marked = dict(batch.mark_class("vae", tmp_path, ROOT, jobs=1, sandboxed=False))
    assert {one["problem"][:18] for one in marked.values()} == {"there is no paper "}


# --- the command ------------------------------------------------------------------------------------------------------


def typed(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["release", *arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_one_notebook_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    code, said = typed("vae", "--course", str(tmp_path))
    assert code == 0, said
    made = nbformat.read(tmp_path / "release" / "vae" / "vae.ipynb", as_version=4)
    assert made == release.released(texts_of("vae")["source"])
    assert "https://colab.research.google.com/github/" in said
    assert "/notebooks/exercises/vae.ipynb" in said


@pytest.mark.bad_input
def test_what_cannot_be_released_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roster = tmp_path / "roster.csv"
    roster.write_text("id,name\nada,Ada\n")
    course = str(tmp_path / "course")
    monkeypatch.chdir(tmp_path)
    code, said = typed("vae", "--variants", "roster.csv", "--course", course)
    assert (code, "run this in the folder of the course's repository" in said) == (2, True)
    monkeypatch.chdir(ROOT)
    assert typed("no_such", "--course", course)[0] == 2
    (tmp_path / "empty.csv").write_text("id,name\n")
    code, said = typed("vae", "--variants", str(tmp_path / "empty.csv"), "--course", course)
    assert (code, "the roster has no students" in said) == (2, True)
    assert not (tmp_path / "course").exists()
    code, said = typed("vae", "--variants", str(roster), "--course", course)
    assert (code, "1 papers" in said) == (0, True), said
    code, said = typed("vae", "--course", course)
    assert (code, "name the roster with --variants" in said) == (2, True)
    (tmp_path / "course" / "papers" / "vae" / "papers.json").write_text("{")
    code, said = typed("vae", "--variants", str(roster), "--course", course)
    assert (code, "papers.json cannot be read" in said) == (2, True)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"no such": "x"}, "no option 'x' of 'no such'"),
        ({"knob": "y"}, "no option 'y' of 'knob'"),
        ({"knob": "x"}, "knob, x: the source does not have 'what is not there'"),
        ({release.ORDER: "ABC"}, "no ten statements"),
    ],
)
def test_what_does_not_fit_is_named(chosen: dict[str, str], words: str) -> None:
    variants = {"knob": {"usual": {}, "x": {"source": [("what is not there", "something")]}}}
    with pytest.raises(ReleaseError, match=re.escape(words)):
        release.varied(texts_of("vae"), variants, chosen)
