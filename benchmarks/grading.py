"""Measure grading: what the side-by-side running costs by itself, and `aigc-grade run` against plain nbgrader.

Run from the repository's root: python benchmarks/grading.py [scheduling] [honest_class]. The results go to the terminal
and to benchmarks/grading.json. The second part needs bubblewrap.
"""

import copy
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import common
import nbformat
import psutil
from nbformat import NotebookNode

from aigc_course.grading import batch, marking, release
from aigc_course.grading.intake import intake

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tools"))
from clean_environment import clean_environment  # noqa: E402

SOURCE = ROOT / "notebooks" / "exercises" / "vae.py"
SUBMISSIONS, SLEEP, JOBS = 1_000, 3.0, 4
CLASS, PAIRS = 12, 3


def put(notebook: NotebookNode, place: Path) -> None:
    place.parent.mkdir(parents=True)
    nbformat.write(notebook, place)


def taken_in(count: int, folder: Path) -> Path:
    """Return a course in which a class of this size has handed in right answers, in several styles."""
    text = SOURCE.read_text("utf-8")
    solved = release.solved(text)
    styles = list(marking.module(ROOT / "tests" / "exercises" / "vae_wrong.py").RIGHT.values())
    for number in range(count):
        notebook, codes = copy.deepcopy(solved), styles[number % len(styles)]
        for cell in notebook.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if name in codes:
                cell.source = f"{cell.source}\n{codes[name]}" if name == "setup" else codes[name]
        put(notebook, folder / "sent" / f"student{number:04d}" / "vae.ipynb")
    intake("vae", folder / "sent", release.released(text), folder / "course")
    return folder / "course"


def scheduling() -> dict[str, Any]:
    """Run a large class with a stub that sleeps in the place of marking: the time beyond the sleep, and the memory."""

    def sleeping(self: marking.Assignment, notebook: NotebookNode, *rest: Any) -> marking.Marked:
        time.sleep(SLEEP)
        return marking.Marked(self.full)

    marking.Assignment.mark = sleeping  # type: ignore[method-assign, assignment]
    memory = []
    with tempfile.TemporaryDirectory() as folder:
        course = taken_in(SUBMISSIONS, Path(folder))
        start = time.perf_counter()
        for _ in batch.mark_class("vae", course, ROOT, JOBS, sandboxed=False):
            memory.append(psutil.Process().memory_info().rss)
        wall = time.perf_counter() - start
    least = SUBMISSIONS * SLEEP / JOBS
    figures = {
        "submissions": SUBMISSIONS,
        "sleep_s": SLEEP,
        "jobs": JOBS,
        "wall_s": round(wall, 1),
        "overhead": round(wall / least - 1, 4),
        "memory_growth": round(memory[-1] / memory[SUBMISSIONS // 10] - 1, 4),
    }
    print(figures, flush=True)
    return figures


def honest_class() -> dict[str, Any]:
    """Mark the same class by `aigc-grade run` and by `nbgrader autograde`, one after the other, several times.

    `sandbox` is the share of our time that is saved by marking without one.
    """
    with tempfile.TemporaryDirectory() as folder:
        course = taken_in(CLASS, Path(folder))
        peer = Path(folder, "nbgrader")
        variables = clean_environment(Path(folder, "settings"))
        variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"

        def nbgrader(*arguments: str) -> float:
            command = [sys.executable, "-m", "nbgrader", *arguments, f"--CourseDirectory.root={peer}"]
            start = time.perf_counter()
            subprocess.run(command, cwd=peer, env=variables, check=True, capture_output=True)
            return time.perf_counter() - start

        def run(*options: str) -> float:
            shutil.rmtree(course / "marked", ignore_errors=True)
            command = [sys.executable, "-c", "from aigc_course.grading.cli import app; app()", "run", "vae"]
            start = time.perf_counter()
            subprocess.run([*command, "--course", str(course), *options], cwd=ROOT, check=True, capture_output=True)
            return time.perf_counter() - start

        put(release.solved(SOURCE.read_text("utf-8")), peer / "source" / "vae" / "vae.ipynb")
        nbgrader("generate_assignment", "vae")
        for sent in (course / "submitted" / "vae").glob("*/notebook.ipynb"):
            put(nbformat.read(sent, 4), peer / "submitted" / sent.parent.name / "vae" / "vae.ipynb")
        rows = []
        for number in range(PAIRS):
            shutil.rmtree(peer / "autograded", ignore_errors=True)
            (ours, bare), theirs = (run(), run("--no-sandbox")), nbgrader("autograde", "vae", "--force")
            ratio, share = round(theirs / ours, 2), round(1 - bare / ours, 3)
            rows.append({"ours_s": round(ours, 1), "nbgrader_s": round(theirs, 1), "ratio": ratio, "sandbox": share})
            print(f"pair {number + 1}: {rows[-1]}", flush=True)

    return {"students": CLASS, "processors": os.cpu_count(), "pairs": rows}


PARTS = {"scheduling": scheduling, "honest_class": honest_class}


if __name__ == "__main__":
    common.run_parts(PARTS, "grading.py", Path(__file__).with_suffix(".json"))
