"""The way of a chapter through Make, walked with chapters of three lines in a copy of the repository's machinery."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.once

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
PLOT = "import matplotlib.pyplot as plt; plt.plot([1, 2])"
ALT = 'mystnb={"image": {"alt": "A line that rises from the left to the right."}}'


def chapter(name: str, code: str = "print(6 * 7)") -> str:
    return HEADER + f"\n# %%\n{textwrap.dedent(code)}\n" + RECORD.replace("CHAPTER", name)


@pytest.fixture
def repository(tmp_path):
    for name in ("Makefile", "requirements.txt", "pyproject.toml", "README.md", "LICENSE"):
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
    # The environment of these tests, with a stamp for this copy, so that nothing is installed here.
    (tmp_path / ".venv").mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (tmp_path / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    (tmp_path / ".venv" / ".ready").write_text(str(tmp_path.resolve()))
    return tmp_path


def command(*arguments, target="notebooks"):
    return ["make", target, "PROFILE=smoke", "JOBS=2", *arguments]


def make(repository, *arguments, target="notebooks", variables=None):
    return subprocess.run(
        command(*arguments, target=target),
        cwd=repository,
        env=os.environ | (variables or {}),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
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
    assert {"three.ipynb", "three.json"} <= {path.name for path in before}
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
        ("print('a' * 84); print('b' * 85)", "cell 3 prints a line of 85 characters"),
        ("open('left.txt', 'w').close()", "left files in the reader's folder: left.txt"),
        (f"{PLOT}; plt.close(); plt.show()", "calls plt.show() or display(…), but shows 0 of 1 outputs"),
        (f"{PLOT}; display = print; plt.show(); display()", "cell 3 calls plt.show() or display(…), but shows 1 of 2"),
        (
            "get_ipython().ast_node_interactivity = 'none'\n\n# %%\n6 * 7",
            "cell 4 ends with a value, but does not show it",
        ),
    ],
)
def test_outputs_no_reader_should_see_are_refused(repository, code, message):
    (repository / "notebooks/vae/three.py").write_text(chapter("three", code))
    done = make(repository, "CHAPTERS=three")
    assert done.returncode != 0
    assert message in done.stdout


def test_other_random_numbers_and_the_same_data(repository):
    code = """
        import random, gymnasium, numpy as np, torch, pytorch_lightning as pl
        from aigc_course.data import ImageData
        print(ImageData().split("test")[0][:9].sum())
        torch.manual_seed(0); print(torch.rand(1))
        pl.seed_everything(0, verbose=False); print(torch.rand(1), np.random.rand(), random.random())
        print(torch.rand(1, generator=torch.Generator().manual_seed(0)), np.random.default_rng(0).random())
        print(gymnasium.make("CartPole-v1").reset(seed=0)[0])
    """
    lucky = "import torch; torch.manual_seed(0); assert round(torch.rand(1).item(), 3) == 0.496"
    for name, source in {"foundations/one": code, "foundations/two": lucky}.items():
        (repository / "notebooks" / f"{name}.py").write_text(chapter(Path(name).name, source))
    assert make(repository, "CHAPTERS=foundations").returncode == 0
    done = make(repository, "CHAPTERS=foundations", "PERTURB=2")
    assert done.returncode != 0
    assert "FAILED   foundations/two, perturbation 2: cell 3" in done.stdout
    assert "done     foundations/one, perturbation 2 (smoke)" in done.stdout

    def printed(build):
        cells = nbformat.read(repository / "build" / build / "foundations" / "one.ipynb", as_version=4).cells
        text = "".join(output.text for cell in cells for output in cell.get("outputs", []) if "text" in output)
        return re.findall(r"\d+\.\d+", text)

    data, *others = zip(printed("smoke"), printed("smoke-perturbed-2"), strict=True)
    assert data[0] == data[1]
    assert len(others) == 10
    assert all(usual != perturbed for usual, perturbed in others)


def test_steady_runs_a_chapter_three_times(repository):
    done = make(repository, "-n", "CHAPTERS=three", target="steady")
    runs = re.findall(r"chapter.py run (\S+) \S+ --profile smoke --perturb (\d)", done.stdout)
    assert sorted(runs) == [("notebooks/vae/three.py", number) for number in "123"]


def planned(repository, *arguments, **variables):
    """What Make would run, in its order; `-n` runs nothing."""
    call = ["make", "-n", f"VENV={Path(sys.prefix)}", "notebooks", *arguments]
    done = subprocess.run(call, cwd=repository, env=os.environ | variables, text=True, capture_output=True, check=True)
    return re.findall(r"chapter.py run notebooks/(\S+).py .* --jobs (\d+) ", done.stdout)


def test_the_longest_of_the_last_run_starts_first_and_the_unknown_before_all(repository):
    for profile in ("smoke", "cpu"):
        assert [name for name, _ in planned(repository, f"PROFILE={profile}")] == [
            "foundations/one",
            "foundations/two",
            "vae/three",
        ]
    results = repository / "build/smoke/results"
    results.mkdir(parents=True)
    (results / "one.json").write_text(json.dumps({"answer": 42, "seconds": 9}, indent=2))
    (results / "three.json").write_text(json.dumps({"answer": 42, "seconds": 10}, indent=2))
    names = [name for name, _ in planned(repository, "PROFILE=smoke")]
    assert names == ["foundations/two", "vae/three", "foundations/one"]


def test_one_job_for_each_core_and_one_for_the_gpu(repository):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    # The thread count of OpenMP is not the number of cores.
    assert {jobs for _, jobs in planned(repository, OMP_NUM_THREADS="1", OMP_THREAD_LIMIT="1")} == {str(cores)}
    assert {jobs for _, jobs in planned(repository, "PROFILE=gpu")} == {"1"}
    assert {jobs for _, jobs in planned(repository, "JOBS=5")} == {"5"}


def test_a_called_make_shares_the_jobs_and_says_nothing_of_them(repository):
    with (repository / "Makefile").open("a") as makefile:
        makefile.write("\nouter:\n\t$(MAKE) notebooks\n")
    done = make(repository, "CHAPTERS=foundations", target="outer")
    assert done.returncode == 0, done.stdout
    assert "warning" not in done.stdout
    assert ran(done) == ["foundations/one", "foundations/two"]


def test_what_is_left_is_said_and_a_failed_chapter_is_not_waited_for(repository):
    def said(done):
        return [line.partition("; ")[2] for line in done.stdout.splitlines() if line.startswith("done")]

    first = said(make(repository, "JOBS=1"))
    assert [text.split(",")[0] for text in first] == ["1 of 3 done", "2 of 3 done", "3 of 3 done"]
    assert [" left" in text for text in first] == [True, True, False]
    figures = repository / "build/smoke/results/two.json"
    figures.write_text(json.dumps({**json.loads(figures.read_text()), "seconds": 600}, indent=2))  # so it comes first
    (repository / "notebooks/foundations/two.py").write_text(chapter("two", "1 / 0"))
    touch(repository / "aigc_course/mixture.py")  # of the part foundations only
    done = make(repository, "JOBS=1")
    assert ran(done) == ["foundations/one", "foundations/two"], done.stdout
    assert said(done) == ["2 of 3 done"]


def test_the_time_left_is_shared_by_the_jobs_and_never_less_than_the_longest_chapter(tmp_path):
    sys.path.insert(0, str(ROOT / "tools"))
    import chapter as tool

    chosen = ["a/done", "a/short", "b/long", "b/new"]
    (tmp_path / "results").mkdir()
    for name in chosen:
        (tmp_path / f"{name}.due").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.due").touch()
    (tmp_path / "a/done.ipynb").touch()
    for name, seconds in (("done", 30), ("short", 60), ("long", 300)):
        (tmp_path / f"results/{name}.json").write_text(json.dumps({"seconds": seconds}))
    # The new one is taken for an average chapter, 130 s.
    assert tool._progress(tmp_path, chosen, 1) == "; 1 of 4 done, about 8 min left"
    assert tool._progress(tmp_path, chosen, 2) == "; 1 of 4 done, about 5 min left"
    assert tool._progress(tmp_path, chosen[:2], 2) == "; 1 of 2 done, about 60 s left"
    assert tool._progress(tmp_path, chosen[:1], 2) == "; 1 of 1 done"
    assert tool._progress(tmp_path, [], 2) == ""


@pytest.mark.parametrize(("message", "attempts"), [("Kernel died before replying to kernel_info", 2), ("other", 1)])
def test_a_kernel_that_never_began_is_started_once_more(tmp_path, monkeypatch, message, attempts):
    sys.path.insert(0, str(ROOT / "tools"))
    import chapter as tool

    calls = []

    def never(*arguments, **options):
        calls.append(arguments)
        raise RuntimeError(message)

    monkeypatch.setattr(tool.papermill, "execute_notebook", never)
    (tmp_path / "part").mkdir()
    (tmp_path / "part/one.py").write_text(chapter("one"))
    kept, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(RuntimeError, match=message):
            tool.run(tmp_path / "part/one.py", tmp_path / "built/one.ipynb", "smoke", [], 1, 0)
    finally:
        os.environ.clear()
        os.environ.update(kept)
        signal.signal(signal.SIGTERM, handler)
    assert len(calls) == attempts
    assert not (tmp_path / "built/one.ipynb").exists()


def test_a_cell_with_alt_text_shows_a_picture(repository):
    source = chapter("three", "print('no picture')").replace("# %%\nprint", f"# %% {ALT}\nprint")
    (repository / "notebooks/vae/three.py").write_text(source)
    done = make(repository, "CHAPTERS=three")
    assert done.returncode != 0
    assert "cell 3 has alt text, but shows no picture" in done.stdout


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
        (["JOBS=many"], "JOBS is 'many'; it takes how many chapters run at a time, 1 or more"),
        (["JOBS=0"], "JOBS is '0'; it takes how many chapters run at a time, 1 or more"),
        (["JOBS="], "JOBS is ''; it takes how many chapters run at a time, 1 or more"),
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
    assert [name for name in built if not name.startswith(".")] == ["one.due", "one.ipynb"]
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
