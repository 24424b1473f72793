"""Reports: nothing is lost, no zero is silent, no page can run anything, and what looks alike is found."""

import contextlib
import copy
import csv
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from test_grading_marking import NAMES, ROOT, VAE, answers_of, assignment_of, handed_in, here
from typer.testing import CliRunner

from aigc_course.grading import batch, inside, marking, report
from aigc_course.grading.cli import app
from aigc_course.grading.intake import Roster, Student, intake
from aigc_course.grading.notebooks import python

EVIL = "<script>document.title = 'run'</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"
WORDS = {"ada": f"Because of {EVIL}", "bob": "", "cyd": "An answer."}


def released() -> NotebookNode:
    release = copy.deepcopy(assignment_of(VAE).solved)
    for cell in release.cells:
        entry = cell.metadata.get("nbgrader", {})
        if entry.get("solution"):
            cell.source = "raise NotImplementedError()" if cell.cell_type == "code" else "YOUR ANSWER HERE"
        cell.source = re.sub("### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS", "", cell.source, flags=re.DOTALL)
    return release


@pytest.fixture
def course(marked_class: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(ROOT)
    return shutil.copytree(marked_class, tmp_path / "class") / "course"


@pytest.fixture(scope="module")
def marked_class(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class: right; one mistake and no words; two mistakes; not marked; sent nothing (dan)."""
    tmp_path = tmp_path_factory.mktemp("class")
    wrong = answers_of(VAE).WRONG
    codes = {
        "ada": {},
        "bob": {"kl": wrong["kl"][0][1]},
        "cyd": {"kl": wrong["kl"][0][1], "elbo": f"def elbo(*a):\n    raise ValueError({EVIL!r})"},
    }
    for student, changed in codes.items():
        notebook = handed_in(VAE, {**changed, "words": WORDS[student]})
        notebook.cells[0].source = notebook.cells[0].source if student == "bob" else EVIL
        printed = nbformat.v4.new_output("stream", text="radius 3.0: KL 5.64 = 2.04 + mismatch 3.60\n")
        notebook.cells.insert(3, nbformat.v4.new_code_cell("1", outputs=[printed]))
        (tmp_path / "sent" / student).mkdir(parents=True)
        nbformat.write(notebook, tmp_path / "sent" / student / "vae.ipynb")
    intake(VAE, tmp_path / "sent", released(), tmp_path / "course")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marking, "without_sandbox", here)
        list(batch.mark_class(VAE, tmp_path / "course", ROOT, 1, sandboxed=False))
    (tmp_path / "sent" / "eve").mkdir()
    nbformat.write(handed_in(VAE, {}), tmp_path / "sent" / "eve" / "vae.ipynb")
    intake(VAE, tmp_path / "sent", released(), tmp_path / "course")
    (tmp_path / "moodle.csv").write_text(
        "Identifier,Full name,ID number,Email address,Grade,Maximum Grade,Feedback comments\n"
        + "".join(
            f'Participant {i},{name},{name.split()[0].lower()},,{grade},"30,00",\n'
            for i, (name, grade) in enumerate(
                [("Ada Löv", ""), ("Bob B", "3"), ("Cyd C", ""), ("Dan D", ""), ("Eve E", "")], 11
            )
        ),
        "utf-8",
    )
    return tmp_path


def written(course: Path) -> dict[str, bytes]:
    folder = course / "reports" / VAE
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.suffix in (".html", ".csv")}


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def test_scores_are_right_or_empty(course: Path) -> None:
    full = sum(assignment_of(VAE).full.values())
    report.report(VAE, course)
    table = {row["student_id"]: row for row in rows(written(course)["grades.csv"])}
    assert sorted(table) == ["ada", "bob", "cyd", "eve"]
    # Ada's and Cyd's words have not been read, and nobody has marked Eve's. Bob wrote none: they are worth 0.
    assert [table[name]["score"] for name in sorted(table)] == ["", f"{full - 2:g}", "", ""]
    assert {row["max_score"] for row in table.values()} == {f"{full + 4:g}"}
    assert tuple(table["ada"]) == report._NBGRADER

    machine = [marks.machine for marks in report.report(VAE, course, machine_only=True)]
    assert machine == [full, full - 2, full - 6, 0]
    table = {row["student_id"]: row for row in rows(written(course)["grades.csv"])}
    assert [table[name]["score"] for name in sorted(table)] == [f"{full:g}", f"{full - 2:g}", f"{full - 6:g}", ""]


def test_points_by_hand_count(course: Path) -> None:
    report.report(VAE, course)
    waiting = rows(written(course)["by_hand.csv"])
    assert [(row["student"], row["question"]) for row in waiting] == [("ada", "words"), ("cyd", "words")]
    (course / "by_hand").mkdir()
    (course / "by_hand" / "vae.csv").write_text("student,question,points,comment\nada,words,3.5,Good\ncyd,words,,\n")
    report.report(VAE, course)
    table = {row["student_id"]: row["score"] for row in rows(written(course)["grades.csv"])}
    assert table["ada"] == f"{sum(assignment_of(VAE).full.values()) + 3.5:g}"
    assert table["cyd"] == ""
    assert "Good" in written(course)["feedback/ada.html"].decode()
    assert len(rows(written(course)["by_hand.csv"])) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("student,question\nada,words", "no column points"),
        ("student,question,points\nada,other,3", "line 2: no answer in words is called 'other'"),
        ("student,question,points\nada,words,9", "points are 0 to 4, not '9'"),
        ("student,question,points\nada,words,nan", "points are 0 to 4, not 'nan'"),
        ("student,question,points\nada,words,much", "points are 0 to 4, not 'much'"),
        ("student,question,points\nada,words,1\nada,words,2", "line 3: a second entry"),
        ("student,question,points\nzoe,words,1", "students who are not there: .'zoe'"),
    ],
)
def test_points_by_hand_that_cannot_be_are_named(course: Path, text: str, says: str) -> None:
    (course / "by_hand").mkdir()
    (course / "by_hand" / "vae.csv").write_text(text)
    with pytest.raises(batch.MarkingError, match=says):
        report.report(VAE, course)
    assert not (course / "reports" / VAE / "grades.csv").exists()


def test_worksheets_come_back_filled_in(course: Path) -> None:
    sheet = course.parent / "moodle.csv"
    result = CliRunner().invoke(app, ["report", VAE, "--course", str(course), "--roster", str(sheet)])
    assert result.exit_code == 1, result.output
    full = sum(assignment_of(VAE).full.values())
    filled = rows(written(course)["moodle.csv"])
    assert [row["Grade"] for row in filled] == ["", f"{full - 2:g}", "", "", ""]
    assert [{**row, "Grade": ""} for row in filled] == [{**row, "Grade": ""} for row in rows(sheet.read_bytes())]
    names = {row["student_id"]: (row["first_name"], row["last_name"]) for row in rows(written(course)["grades.csv"])}
    assert names["ada"] == ("Ada", "Löv")
    assert names["dan"] == ("Dan", "D")  # who sent nothing
    assert "no file is known to be this student" in written(course)["class.html"].decode()

    book = course.parent / "canvas.csv"
    book.write_text(
        "Student,ID,SIS User ID,SIS Login ID,Section,Other (1),VAE (22)\n"
        "    Points Possible,,,,,5,26\n,,,,,Manual Posting,\n"
        '"Löv, Ada",77,ada,ada,A,5,1\n"B, Bob",78,bob,bob,A,,2\n"C, Cyd",79,cyd,cyd,A,,EX\n"Student, Test",80,,,A,,\n'
    )
    assert [student.number for student in Roster.read(book).students.values()] == ["77", "78", "79"]
    people = Roster([Student(name, number=str(77 + i)) for i, name in enumerate(["ada", "bob", "cyd", "eve"])])
    report.report(VAE, course, roster=people, worksheet=book, machine_only=True)
    filled = rows(written(course)["canvas.csv"])
    assert list(filled[0]) == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "VAE (22)"]
    assert [row["VAE (22)"] for row in filled] == ["26", "", f"{full:g}", f"{full - 2:g}", "EX", ""]
    assert "moodle.csv" not in written(course)  # of the report before
    with pytest.raises(batch.MarkingError, match="has the maximum 26, and this report 30"):
        report.report(VAE, course, roster=people, worksheet=book)
    with pytest.raises(batch.MarkingError, match=r"does not have 3 of the students taken in \(bob, cyd, eve"):
        report.report(VAE, course, roster=Roster([Student("ada")]))


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_no_page_can_run_what_a_student_wrote(course: Path) -> None:
    report.report(VAE, course)
    pages = {name: data.decode() for name, data in written(course).items() if name.endswith(".html")}
    assert len(pages) == 6
    for text in pages.values():
        elements = Elements()
        elements.feed(text)
        assert not {tag for tag, _ in elements.seen} & {"script", "img", "iframe", "object", "link", "a", "form"}
        assert not any(name.startswith("on") for _, attributes in elements.seen for name in attributes)
        policies = [a.get("content") for t, a in elements.seen if a.get("http-equiv") == "Content-Security-Policy"]
        assert policies == ["default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"]
    for name in ("feedback/ada.html", "feedback/cyd.html", "class.html"):  # shown, as text
        shown = "&lt;script&gt;document.title" in pages[name]
        assert shown == (name != "class.html")
    assert "{{ 7 * 7 }}" in pages["feedback/ada.html"]


def test_feedback_tells_the_mistake_and_no_hidden_test(course: Path) -> None:
    report.report(VAE, course)
    page = written(course)["feedback/bob.html"].decode()
    says = assignment_of(VAE).diagnoses["kl"]["half missing"]
    assert says in page
    assert "2. The KL divergence" in page
    assert "Check 2b: the value for a single example with a single latent" in page
    assert "There is no answer." in page
    solved = assignment_of(VAE).solved
    hidden = [re.findall("### BEGIN HIDDEN TESTS\n(.*?)###", cell.source, re.DOTALL) for cell in solved.cells]
    lines = {line.strip() for texts in hidden for text in texts for line in text.split("\n") if len(line.strip()) > 20}
    assert len(lines) > 100
    for name in ("ada", "bob", "cyd"):
        assert not any(line in written(course)[f"feedback/{name}.html"].decode() for line in lines)
    assert "There are no marks" in written(course)["feedback/eve.html"].decode()


def test_the_class_and_what_needs_a_look(course: Path) -> None:
    report.report(VAE, course)
    page = written(course)["class.html"].decode()
    assert "4 students, 3 of them marked" in page
    assert "has changed, or has never been marked" in page
    assert "3 were marked without a sandbox" in page
    kl = assignment_of(VAE).diagnoses["kl"]["half missing"]
    assert re.search(rf'number">2</td><td>2. The KL divergence.*?</td><td>{re.escape(kl)}', page)
    hardest = page[page.index("hardest first") :]
    assert hardest.index("Check 2b") < hardest.index("Check 2a")


def test_the_same_again_changes_nothing(course: Path) -> None:
    report.report(VAE, course)
    before, times = written(course), {p: p.stat().st_mtime_ns for p in (course / "reports").rglob("*.html")}
    report.report(VAE, course)
    assert written(course) == before
    assert {p: p.stat().st_mtime_ns for p in times} == times


def test_questions_are_about_the_students_own_notebook(course: Path) -> None:
    marks = {each.id: each for each in report.report(VAE, course)}
    for name in ("ada", "bob", "cyd"):
        assert "radius 3.0: KL 5.64 = 2.04 + mismatch 3.60" in [question["shown"] for question in marks[name].viva]
        assert len(marks[name].viva) <= report.QUESTIONS
    assert "factor" in marks["bob"].viva[0]["asks"]
    assert marks["bob"].viva[0]["shown"] == answers_of(VAE).WRONG["kl"][0][1].strip()


@pytest.mark.parametrize("name", NAMES)
def test_questions_fit_what_the_solution_prints(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBGRADER_EXECUTION", "1")
    printed = io.StringIO()
    names: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.redirect_stdout(printed):
        for cell in assignment_of(name).solved.cells:
            if cell.cell_type == "code" and not cell.metadata.get("nbgrader", {}).get("grade"):
                inside._execute(python(cell.source), names)
    for pattern, *_ in marking.module(ROOT / "marking" / f"{name}_viva.py").VIVA:
        assert re.search(pattern, printed.getvalue(), re.MULTILINE), pattern


# --- Answers that look alike ------------------------------------------------------------------------------------------


OWN = """
def kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    shifted = torch.square(mu - prior_mu) * torch.exp(-prior_log_var)  # {0}
    stretched = torch.expm1(log_var - prior_log_var) - (log_var - prior_log_var)
    both = torch.stack([shifted, stretched], dim=-1).sum(dim=(-1, -2))
    return torch.mul(both, torch.tensor(0.5, dtype=both.dtype))
"""


def test_copies_are_found_and_others_are_not() -> None:
    solved = assignment_of(VAE).solved
    ours = report.statements_of(*(cell.source for cell in solved.cells if cell.cell_type == "code"))
    answers = answers_of(VAE)
    codes = {
        f"student {i}": {"kl": code, "elbo": answers.RIGHT[style].get("elbo", "")}
        for i, (style, code) in enumerate(
            (s, answers.WRONG["kl"][i % len(answers.WRONG["kl"])][1]) for i, s in enumerate(answers.RIGHT)
        )
    }
    assert report.look_alikes(codes, ours)[1] == []
    renamed = re.sub("both", "total", OWN.format("mine").replace("shifted", "a").replace("stretched", "b"))
    codes |= {"ann": {"kl": OWN.format("x")}, "ben": {"kl": renamed}}
    rare, pairs = report.look_alikes(codes, ours)
    assert [(pair.first, pair.second, len(pair.shared)) for pair in pairs] == [("ann", "ben", 4)]
    assert rare == 2
    # What many have found is no sign, and neither is what the assignment's solution says.
    codes |= {f"many {i}": {"kl": OWN.format(i)} for i in range(5)}
    assert report.look_alikes(codes, ours)[1] == []
    same = {name: {cell.id: cell.source for cell in solved.cells if cell.cell_type == "code"} for name in ("x", "y")}
    assert report.look_alikes(same, ours)[1] == []


@pytest.mark.parametrize("code", ["def f(:", "x = " + "(" * 5000 + ")" * 5000, "-" * 50_000 + "1", "\0", "%%bash\nls"])
def test_what_is_no_program_is_like_nothing(code: str) -> None:
    assert report.statements_of(code, "value = first + second * third - fourth") != {}
