"""The whole way of a class, from what was sent to its scores: nothing is lost, no zero is silent, kill -9 is harmless.

The assignment is a small one of the tests' own, so that a class of eighty takes seconds.
"""

import copy
import csv
import html
import multiprocessing
import os
import re
import secrets
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jupytext
import pytest
from test_grading_intake import DOUBTFUL, KINDS, NAMED, RELEASE, REPAIRED, answered, as_folder, data_of, deleted
from test_grading_marking import here

from aigc_course.grading import batch, intake, marking, report

NAME = "vae"
FULL = {"double-a": 2.0, "half-a": 2.0}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the tests' assignment."""
    folder = tmp_path_factory.mktemp("repository")
    asks = "import torch\n" + "".join(
        f"def {name}_a(answers, draw):\n    return {{'y': answers.{name}(torch.randn(5, generator=draw))}}\n"
        for name in ("double", "half")
    )
    wrong = "WRONG = {'double': [('the same', 'def double(x):\\n    return x', {'double-a': 0})], 'half': []}\n"
    files = {
        "notebooks/exercises/vae.py": jupytext.writes(answered(), "py:percent"),
        "marking/vae_asks.py": asks,
        "marking/vae_rules.py": "",
        "marking/vae_viva.py": "VIVA = []\n",
        "tests/exercises/vae_wrong.py": wrong + "DIAGNOSES = {'double': {'the same': 'It is not doubled.'}}\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    return folder


def take_in(sent: Path, course: Path) -> None:
    intake.intake(NAME, sent, copy.deepcopy(RELEASE), course)


def mark(course: Path, root: Path) -> None:
    list(batch.mark_class(NAME, course, root, 2, sandboxed=False))


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marking, "without_sandbox", here)
    monkeypatch.setattr(secrets, "token_hex", lambda size: "00" * size)


def rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["student_id"]: row for row in csv.DictReader(file)}


def test_every_breakage_is_marked_right_or_named(root: Path, tmp_path: Path) -> None:
    students = {f"s{i:03d}": kind for i, kind in enumerate(KINDS)}
    for student, kind in students.items():
        as_folder(tmp_path / "sent" / student, KINDS[kind][0])
    take_in(tmp_path / "sent", tmp_path / "course")
    mark(tmp_path / "course", root)
    result = {marks.id: marks for marks in report.report(NAME, tmp_path / "course", root)}
    scores = report.report(NAME, tmp_path / "course", root, machine_only=True)
    table = rows(tmp_path / "course" / "reports" / NAME / "grades.csv")
    page = (tmp_path / "course" / "reports" / NAME / "class.html").read_text("utf-8")
    assert list(result) == list(table) == sorted(students) == [marks.id for marks in scores]
    for student, kind in students.items():
        marks, score = result[student], table[student]["score"]
        if kind in REPAIRED:
            assert (score, marks.problem, marks.unread) == ("4", "", 2.0), kind
        elif kind in NAMED:
            assert score == "", kind
            assert marks.problem == "no notebook could be read", kind
            assert re.search(f"<td>{student}</td><td>.*{KINDS[kind][1]}", html.unescape(page)), kind
        else:
            assert kind in DOUBTFUL
            assert marks.looks, kind
            assert score == ("0" if kind == "untouched" else "4"), kind
    # Every file that was sent is kept or named.
    sent = sum(path.is_file() for path in (tmp_path / "sent").rglob("*"))
    files = intake.json.loads((tmp_path / "course" / "submitted" / NAME / "report.json").read_text("utf-8"))["files"]
    assert len({entry["path"] for entry in files if ".zip/" not in entry["path"]}) == sent


CLASS: dict[str, Any] = {
    "ann": answered(),
    "ben": answered(double="def double(x):\n    return x"),
    "cat": answered(why="", how="YOUR ANSWER HERE"),
}


def whole_way(sent: Path, course: Path, root: Path) -> list[Callable[[], Any]]:
    return [
        lambda: take_in(sent, course),
        lambda: mark(course, root),
        lambda: report.report(NAME, course, root),
    ]


def all_files(course: Path) -> dict[str, bytes]:
    files = [path for path in course.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(course)): path.read_bytes() for path in files}


def killed(stage: Callable[[], Any], at: int, before: bool) -> bool:
    """Run a stage in a process that kills itself at its n-th file, written aside or renamed already; was it killed?

    In marking each student has a process of its own, so there `at` counts for each.
    """

    def run() -> None:
        count, replace = 0, Path.replace

        def counting(path: Path, target: Path) -> Path:
            nonlocal count
            count += path.name.endswith(".part")
            if count == at and before:
                os.kill(os.getpid(), signal.SIGKILL)
            done = replace(path, target)
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        Path.replace = counting  # type: ignore[method-assign, assignment]
        stage()

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join()
    return process.exitcode == -signal.SIGKILL


# stage, the file at which it is killed, and whether before it gets its name
PLACES = [
    *((0, 1, True), (0, 1, False), (0, 2, True), (0, 5, False), (0, 9, True), (0, 10, True)),
    *((1, 1, True), (1, 1, False)),
    *((2, 1, True), (2, 2, False), (2, 4, True), (2, 6, False), (2, 7, True)),
]


@pytest.mark.parametrize(("stage", "at", "before"), PLACES)
def test_killed_anywhere_and_typed_again_it_gives_the_same(
    stage: int, at: int, before: bool, root: Path, tmp_path: Path
) -> None:
    for student, notebook in CLASS.items():
        as_folder(tmp_path / "sent" / student, {"vae.ipynb": data_of(notebook)})
    undisturbed = whole_way(tmp_path / "sent", tmp_path / "undisturbed", root)
    disturbed = whole_way(tmp_path / "sent", tmp_path / "disturbed", root)
    for number, (calm, rough) in enumerate(zip(undisturbed, disturbed, strict=True)):
        calm()
        if number == stage:
            # When all has been written, the one who waits for marks need not write that somebody ended early.
            assert killed(rough, at, before) == (number != 1 or before)
        rough()
    expected = all_files(tmp_path / "undisturbed")
    assert len(expected) > 15
    assert all_files(tmp_path / "disturbed") == expected


def test_the_one_who_waits_is_killed(root: Path, tmp_path: Path) -> None:
    for student, notebook in CLASS.items():
        as_folder(tmp_path / "sent" / student, {"vae.ipynb": data_of(notebook)})
    for course in (tmp_path / "undisturbed", tmp_path / "disturbed"):
        take_in(tmp_path / "sent", course)
    mark(tmp_path / "undisturbed", root)

    def run() -> None:
        for _ in batch.mark_class(NAME, tmp_path / "disturbed", root, 1, sandboxed=False):
            os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    done = all_files(tmp_path / "disturbed")
    assert sum(name.startswith("marked") for name in done) in (1, 2)
    mark(tmp_path / "disturbed", root)
    assert all_files(tmp_path / "disturbed") == all_files(tmp_path / "undisturbed")


def test_a_class_without_a_notebook_has_a_report(root: Path, tmp_path: Path) -> None:
    as_folder(tmp_path / "sent" / "ann", {"vae.ipynb": data_of(answered()).replace(b"nbformat", b"x")})
    as_folder(tmp_path / "sent" / "ben", {"vae.ipynb": b""})
    as_folder(tmp_path / "sent" / "cat", {"vae.ipynb": data_of(answered()), "b.ipynb": b"%PDF"})
    broken = answered()
    deleted("half")(broken)
    as_folder(tmp_path / "sent" / "dan", {"vae.ipynb": data_of(broken)})
    take_in(tmp_path / "sent", tmp_path / "course")
    (tmp_path / "course" / "submitted" / NAME / "cat" / "notebook.ipynb").unlink()
    mark(tmp_path / "course", root)
    report.report(NAME, tmp_path / "course", root)
    table = rows(tmp_path / "course" / "reports" / NAME / "grades.csv")
    assert {student: row["score"] for student, row in table.items()} == dict.fromkeys(("ann", "ben", "cat", "dan"), "")
