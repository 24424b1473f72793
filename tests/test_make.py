"""The way of a chapter through Make, walked with chapters of three lines in a copy of the repository's machinery."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A title

# %% tags=["parameters"]
profile = "auto"
"""
RECORD = """
# %%
import json, os, pathlib
if "AIGC_COURSE_RESULTS" in os.environ:
    folder = pathlib.Path(os.environ["AIGC_COURSE_RESULTS"])
    folder.mkdir()
    figures = {"chapter": "CHAPTER", "profile": profile, "device": "a test", "answer": 42}
    (folder / "CHAPTER.json").write_text(json.dumps(figures))
"""


def chapter(name: str, code: str = "print(6 * 7)") -> str:
    return HEADER + f"\n# %%\n{textwrap.dedent(code)}\n" + RECORD.replace("CHAPTER", name)


@pytest.fixture
def repository(tmp_path):
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy2(ROOT / name, tmp_path)
    for name in ("tools", "aigc_course"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    names = ["foundations/one", "foundations/two", "vae/three"]
    toc = "\n".join(f"      - file: notebooks/{name}" for name in names)
    (tmp_path / "_toc.yml").write_text(f"parts:\n  - caption: All\n    chapters:\n{toc}\n")
    for name in names:
        source = tmp_path / "notebooks" / f"{name}.py"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(chapter(source.stem))
    return tmp_path


def command(*arguments):
    # The stamp of the real environment is newer than the copied lock, so nothing is installed here.
    return ["make", f"VENV={Path(sys.prefix)}", "notebooks", "PROFILE=smoke", "JOBS=2", *arguments]


def make(repository, *arguments):
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        command(*arguments), cwd=repository, env=clean, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def ran(done):
    return sorted(line.split()[1] for line in done.stdout.splitlines() if line.startswith("running"))


def touch(path):
    os.utime(path, (time.time() + 2, time.time() + 2))


def test_only_what_changed_runs_again(repository):
    first = make(repository)
    assert first.returncode == 0, first.stdout
    assert ran(first) == ["foundations/one", "foundations/two", "vae/three"], first.stdout
    assert ran(make(repository)) == []
    (repository / "notebooks/foundations/one.py").write_text(chapter("one", "print(43)"))
    assert ran(make(repository)) == ["foundations/one"]
    touch(repository / "aigc_course/vae.py")
    assert ran(make(repository)) == ["vae/three"]
    result = json.loads((repository / "build/smoke/results/three.json").read_text())
    assert result["answer"] == 42
    assert result["profile"] == "smoke"
    assert result["seconds"] >= 0


def test_smoke_never_touches_cpu(repository):
    chosen = "CHAPTERS=vae"
    assert ran(make(repository, "PROFILE=cpu", chosen)) == ["vae/three"]
    before = {path: path.read_bytes() for path in (repository / "build/cpu").rglob("*") if path.is_file()}
    assert len(before) == 2
    assert ran(make(repository, chosen)) == ["vae/three"]
    after = {path: path.read_bytes() for path in (repository / "build/cpu").rglob("*") if path.is_file()}
    assert after == before


def test_a_failing_notebook_is_named_and_stops_no_other(repository):
    (repository / "notebooks/foundations/one.py").write_text(chapter("one", "1 / 0"))
    done = make(repository, "JOBS=1")
    assert done.returncode != 0
    assert "FAILED   foundations/one: cell 3" in done.stdout
    assert "ZeroDivisionError" in done.stdout
    assert ran(done) == ["foundations/one", "foundations/two", "vae/three"]
    built = sorted(path.name for path in (repository / "build/smoke").rglob("*.ipynb"))
    assert built == ["three.ipynb", "two.ipynb"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; print('careful', file=sys.stderr)", "writes to stderr"),
        ("print(object())", "shows a memory address"),
        ("open('left.txt', 'w').close()", "left files in the reader's folder: left.txt"),
    ],
)
def test_outputs_no_reader_should_see_are_refused(repository, code, message):
    (repository / "notebooks/vae/three.py").write_text(chapter("three", code))
    done = make(repository, "CHAPTERS=three")
    assert done.returncode != 0
    assert message in done.stdout


def test_missing_parameters_cell_is_an_error(repository):
    (repository / "notebooks/vae/three.py").write_text(chapter("three").replace(' tags=["parameters"]', ""))
    done = make(repository, "CHAPTERS=vae")
    assert done.returncode != 0
    assert "no cell has the tag 'parameters'" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["CHAPTERS=vea"], "CHAPTERS names 'vea', which is neither a part nor a chapter. There are: foundations/one"),
        (["PROFILE=fast"], "PROFILE is 'fast'; it takes smoke, cpu or gpu"),
    ],
)
def test_unknown_names_are_errors(repository, arguments, message):
    done = make(repository, *arguments)
    assert done.returncode != 0
    assert message in done.stdout
    assert not (repository / "build").exists()


def test_an_interrupted_run_leaves_nothing_and_goes_on(repository):
    (repository / "notebooks/foundations/two.py").write_text(chapter("two", "import time; time.sleep(60)"))
    process = subprocess.Popen(
        command("JOBS=1", "CHAPTERS=foundations"), cwd=repository, start_new_session=True, stdout=subprocess.DEVNULL
    )
    deadline = time.time() + 60
    while not list((repository / "build/smoke/foundations").glob(".two-*/done.ipynb")):
        assert time.time() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(timeout=30)
    time.sleep(0.5)
    built = sorted(path.name for path in (repository / "build/smoke/foundations").glob("*"))
    assert [name for name in built if not name.startswith(".")] == ["one.ipynb"]
    (repository / "notebooks/foundations/two.py").write_text(chapter("two"))
    done = make(repository, "CHAPTERS=foundations")
    assert done.returncode == 0, done.stdout
    assert ran(done) == ["foundations/two"]


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    environment = tmp_path_factory.mktemp("colab") / "environment"
    subprocess.run([sys.executable, ROOT / "tools/chapter.py", "colab", environment], check=True)
    return environment


@pytest.mark.parametrize(
    ("code", "same"),
    [
        ("print(6 * 7)", True),
        ("import time; print(time.time())", False),
        ("import matplotlib.pyplot as plt, os; plt.plot([1, os.getpid()]); plt.show()", False),
    ],
    ids=["equal", "another number", "another picture"],
)
def test_the_second_run_compares_every_output(tmp_path, colab, code, same):
    source = tmp_path / "part" / "three.py"
    source.parent.mkdir()
    source.write_text(chapter("three", code))
    target = tmp_path / "build" / "part" / "three.ipynb"
    tool = [sys.executable, str(ROOT / "tools/chapter.py")]
    subprocess.run([*tool, "run", str(source), str(target), "--profile", "smoke"], check=True)
    assert "papermill" not in nbformat.read(target, as_version=4).metadata
    done = subprocess.run(
        [*tool, "check", str(target), "--environment", str(colab)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert (done.returncode == 0) == same, done.stdout
    if not same:
        assert "the second run differs from the first" in done.stdout


def test_the_student_has_the_wheel_and_not_the_repository(tmp_path, colab):
    code = "import aigc_course, torch; print(aigc_course.__file__)"
    done = subprocess.run(
        [colab / "bin/python", "-c", code], cwd=tmp_path, text=True, capture_output=True, check=True, env={"PATH": ""}
    )
    assert Path(done.stdout.strip()).is_relative_to(colab)
