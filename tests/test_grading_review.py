"""Answers in words: read without names, and a score typed in formgrader is in the report."""

import csv
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from test_grading_intake import answered, as_folder, data_of
from test_grading_marking import here
from test_grading_whole import NAME, mark, root, take_in  # noqa: F401 the fixture

from aigc_course.grading import batch, marking, report, review

EVIL = "<script>document.title = 'run'</script>\n~~~\n[a](javascript:alert(1)) $x^2$ " + "long " * 40


@pytest.fixture
def course(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    monkeypatch.setattr(marking, "without_sandbox", here)
    sent = {"ann": answered(why=EVIL), "ben": answered(why="Ben's."), "cat": answered(why="", how="YOUR ANSWER HERE")}
    for student, notebook in sent.items():
        as_folder(tmp_path / "sent" / student, {"vae.ipynb": data_of(notebook)})
    as_folder(tmp_path / "sent" / "dan", {"vae.ipynb": b""})
    take_in(tmp_path / "sent", tmp_path / "course")
    mark(tmp_path / "course", root)
    return tmp_path / "course"


def by_hand(course: Path) -> list[tuple[str, ...]]:
    with (course / "by_hand" / f"{NAME}.csv").open(encoding="utf-8", newline="") as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


def type_in(course: Path, student: str, question: str, points: float, comment: str = "") -> None:
    """What formgrader does when a number is typed."""
    with review._gradebook(course / "review" / NAME) as gradebook:
        entry = (question, NAME, NAME, review.pseudonym(student))
        gradebook.find_grade(*entry).manual_score = points
        gradebook.find_comment(*entry).manual_comment = comment
        gradebook.db.commit()


def test_what_is_typed_is_in_the_scores(course: Path, root: Path) -> None:  # noqa: F811
    assert review.prepare(NAME, course, root) == 4  # Cat wrote nothing
    type_in(course, "ann", "why", 0.5, "Good.")
    type_in(course, "ann", "how", 1)
    type_in(course, "ben", "why", 1)
    review.collect(NAME, course)
    expected = [("ann", "how", "1", ""), ("ann", "why", "0.5", "Good."), ("ben", "why", "1", "")]
    assert by_hand(course) == expected
    marks = {each.id: each for each in report.report(NAME, course, root)}
    assert [marks[name].in_words for name in ("ann", "ben", "cat")] == [1.5, 1, 0]
    assert [marks[name].unread for name in ("ann", "ben", "cat")] == [0, 1, 0]

    # Again: what was typed stays; what the file has besides is shown, and stays.
    with (course / "by_hand" / f"{NAME}.csv").open("a") as file:
        file.write("ben,how,0,From the file.\n")
    assert review.prepare(NAME, course, root) == 0
    assert review.prepare(NAME, course, root) == 0
    assert by_hand(course) == [*expected[:2], ("ben", "how", "0", "From the file."), expected[2]]


def test_no_name_is_there_and_nothing_can_run(course: Path, root: Path) -> None:  # noqa: F811
    review.prepare(NAME, course, root)
    folder = course / "review" / NAME
    names = {path.name for path in (folder / "autograded").iterdir()}
    assert names == {review.pseudonym(name) for name in ("ann", "ben", "cat")}
    assert len(names) == 3
    assert not [path for path in folder.rglob("*") if re.search(r"ann|ben|cat|dan", path.name)]
    for path in (folder / "autograded").rglob("*.ipynb"):
        sheet = nbformat.read(path, 4)
        assert not re.search(r"\b(ann|ben|cat|dan)\b", nbformat.writes(sheet))
        answers = [cell for cell in sheet.cells if cell.metadata.get("nbgrader")]
        assert [cell.metadata.nbgrader.grade_id for cell in answers] == ["why", "how"]
        assert sheet.cells[0].source == "Say why."
        for cell in answers:
            lines = cell.source.split("\n")
            assert lines[0] == f"{lines[-1]}text"
            assert lines[-1] not in lines[1:-1]
            assert max(map(len, lines)) <= 90


def test_nothing_to_read_is_said(course: Path, root: Path, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(batch.MarkingError, match="nothing has been taken in"):
        review.prepare(NAME, tmp_path / "elsewhere", root)
    with pytest.raises(batch.MarkingError, match="run this in the folder of the course's repository"):
        review.prepare(NAME, course, tmp_path)
    review.prepare(NAME, course, root)
    with batch.only_one(course / "review" / NAME), pytest.raises(batch.MarkingError, match="wait until it has ended"):
        review.prepare(NAME, course, root)


@pytest.fixture
def server(course: Path, root: Path) -> Iterator[str]:  # noqa: F811
    review.prepare(NAME, course, root)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = "import sys; from pathlib import Path; from aigc_course.grading import review; "
    program += f"review.serve({NAME!r}, Path(sys.argv[1]), {port}, browser=False)"
    command = [sys.executable, "-c", program, str(course)]
    environment = {**os.environ, "JUPYTER_TOKEN": "a-token"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield f"http://127.0.0.1:{port}/formgrader"
    process.terminate()
    process.wait()


def ask(address: str, body: dict[str, object] | None = None) -> str:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": "token a-token"}
    request = urllib.request.Request(address, data, headers, method="GET" if body is None else "PUT")
    for _ in range(240):
        try:
            with urllib.request.urlopen(request) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:  # it has not begun yet
            time.sleep(0.5)
    raise TimeoutError(address)


def test_formgrader_shows_the_answers_and_keeps_a_score(course: Path, server: str) -> None:
    listed = json.loads(ask(f"{server}/api/submitted_notebooks/{NAME}/{NAME}"))
    assert len(listed) == 3
    pages = {}
    for entry in listed:
        page = ask(f"{server}/submissions/{entry['id']}")
        pages[entry["student"]] = page, entry["id"]
        assert "<script>document.title" not in page
        assert "javascript:alert" not in re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL)
    page, number = pages[review.pseudonym("ann")]
    assert "&lt;script&gt;document.title" in page
    assert "Because." in page  # the model answer
    grades = json.loads(ask(f"{server}/api/grades?submission_id={number}"))
    mine = next(grade for grade in grades if grade["name"] == "why")
    ask(f"{server}/api/grade/{mine['id']}", {**mine, "manual_score": 0.75})
    review.collect(NAME, course)
    assert by_hand(course) == [("ann", "why", "0.75", "")]
