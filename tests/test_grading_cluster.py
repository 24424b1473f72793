"""A class is marked on a Dask cluster as it is here, and a worker that is killed costs nothing but time."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from distributed import LocalCluster
from typer.testing import CliRunner

from aigc_course.grading import batch, cluster, release
from aigc_course.grading.cli import app
from aigc_course.grading.intake import intake


def head(name: str, **about: Any) -> str:
    about = {"grade": False, "locked": True, "solution": False, "task": False, **about}
    return f"# %% nbgrader={json.dumps({**about, 'grade_id': name, 'schema_version': 3})}"


SOURCE = f"""\
# ---
# jupyter:
#   kernelspec: {{display_name: Python 3, language: python, name: python3}}
# ---

# %% [markdown]
# # Assignment: a toy

{head("setup")}
import torch

{head("double", locked=False, solution=True)}
def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

{head("double-value", grade=True, points=2)}
assert double(1) == 2
"""
FILES = {
    "notebooks/exercises/toy.py": SOURCE,
    "marking/toy_asks.py": "import torch\n\n\ndef double_value(answers, draw):\n"
    "    return {'twice': answers.double(torch.randn(3, generator=draw))}\n",
    "marking/toy_rules.py": "",
    "tests/exercises/toy_wrong.py": "WRONG = {'double': [('thrice', 'def double(x):\\n    return 3 * x', "
    "{'double-value': 0})]}\nDIAGNOSES = {'double': {'thrice': 'This is three times x.'}}\n",
}
# Each takes a second or two, so that some are under way when a worker is killed.
RIGHT = "import time\n\n\ndef double(x):\n    time.sleep(2)\n    return 2 * x"
ANSWERS = {"ada": RIGHT, "bob": "def double(x):\n    return 3 * x", "cem": RIGHT}


@pytest.fixture
def course(tmp_path: Path) -> Path:
    for place, text in FILES.items():
        path = tmp_path / "root" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    given = release.released(SOURCE)
    for student, answer in ANSWERS.items():
        notebook = release.released(SOURCE)
        next(cell for cell in notebook.cells if cell.id == "double").source = answer
        (tmp_path / "sent" / student).mkdir(parents=True)
        nbformat.write(notebook, tmp_path / "sent" / student / "toy.ipynb")
    (tmp_path / "sent" / "fay").mkdir()
    (tmp_path / "sent" / "fay" / "toy.ipynb").write_text("this is no notebook")
    intake("toy", tmp_path / "sent", given, tmp_path / "course")
    return tmp_path / "course"


@pytest.fixture(scope="module")
def workers() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as workers:
        yield workers


def marked(course: Path, **options: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    return batch.mark_class("toy", course, course.parent / "root", sandboxed=False, **options)


@pytest.mark.once
def test_a_killed_worker_costs_nothing(course: Path, workers: LocalCluster) -> None:
    found = {}
    running = marked(course, scheduler=workers.scheduler_address)
    student, content = next(running)
    found[student] = content
    os.kill(next(iter(workers.workers.values())).pid, signal.SIGKILL)
    found |= running
    for content in found.values():
        content.pop("seed")
    again = dict(marked(course, scheduler=workers.scheduler_address))
    again.pop("fay")  # has a problem, so is looked at anew
    assert all(again[name] == {**found[name], "seed": again[name]["seed"]} for name in again)
    for path in (course / "marked" / "toy").glob("*.json"):
        path.unlink()
    here = dict(marked(course, jobs=1))
    for content in here.values():
        content.pop("seed")
    assert found == here
    assert {name: content["points"] for name, content in here.items()} == {
        name: {"double-value": 2.0 * (answer == RIGHT)} for name, answer in {**ANSWERS, "fay": ""}.items()
    }
    assert here["bob"]["messages"] == {"double-value": "This is three times x."}
    assert here["fay"]["problem"] == "there is no notebook; see what intake says"


def test_what_fails_on_a_worker_is_named(course: Path, workers: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_job", lambda *_: b"this is no job")
    found = dict(marked(course, scheduler=workers.scheduler_address))
    assert len(found) == len(ANSWERS) + 1
    for content in found.values():
        assert content["problem"].startswith("the worker that marked it failed: RuntimeError")
        assert content["points"] == {"double-value": 0.0}


@pytest.mark.bad_input
def test_a_cluster_that_is_not_there_is_named(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    monkeypatch.chdir(course.parent / "root")
    for address in ("tcp://127.0.0.1:9", "no address"):
        arguments = ["run", "toy", "--course", str(course), "--scheduler", address]
        done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
        assert (done.exit_code, f"no Dask scheduler answers at {address}" in done.output) == (2, True), done.output
    with (
        LocalCluster(n_workers=0, dashboard_address=":0") as empty,
        pytest.raises(batch.MarkingError, match="has no workers"),
    ):
        next(marked(course, scheduler=empty.scheduler_address))
    assert not list((course / "marked" / "toy").glob("*.json"))
