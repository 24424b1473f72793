"""Run a chapter's notebook, or check an executed one by running it again as a student on Colab would.

python tools/chapter.py run notebooks/vae/x.py build/cpu/vae/x.ipynb --profile cpu
python tools/chapter.py colab build/colab
python tools/chapter.py check build/cpu/vae/x.ipynb --environment build/colab
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError

ROOT = Path(__file__).resolve().parent.parent
KERNEL = "aigc-colab"


def read_source(source: Path) -> nbformat.NotebookNode:
    """Read a chapter's source as a notebook whose cell ids do not change from one conversion to the next.

    Raises `SystemExit` with a message if the cell of parameters is missing: papermill would only warn, and the profile
    asked for would be ignored.
    """
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:03d}"
    if not any("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells):
        sys.exit(
            f"{source}: no cell has the tag 'parameters', so the profile cannot be set. "
            'Add the cell `# %% tags=["parameters"]` with the line `profile = "auto"` before the first code.'
        )
    return notebook


def run(source: Path, target: Path, profile: str, chosen: list[str], jobs: int) -> None:
    """Execute a chapter and move the notebook, then its recorded figures, into place whole.

    `chosen` names the chapters that Make was asked for, and `jobs` is how many run at a time: for the time left.
    """
    name = f"{source.parent.name}/{source.stem}"
    notebook = read_source(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    # A person may stop Make at any time; leave nothing of the attempt behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"{name}: stopped"))
    _say(f"running  {name} ({profile})")
    with tempfile.TemporaryDirectory(prefix=f".{target.stem}-", dir=target.parent) as folder:
        plain, done, recorded = Path(folder) / "source.ipynb", Path(folder) / "done.ipynb", Path(folder) / "results"
        (empty := Path(folder) / "empty").mkdir()
        nbformat.write(notebook, plain)
        os.environ |= {"AIGC_COURSE_QUIET": "1", "AIGC_COURSE_RESULTS": str(recorded.resolve())}
        try:
            papermill.execute_notebook(
                plain,
                done,
                {"profile": profile},
                kernel_name="python3",
                cwd=empty,
                progress_bar=sys.stderr.isatty(),
                # The kernel listens on this machine only; its warning that it does so unencrypted would hide ours.
                extra_arguments=["--log-level=ERROR"],
            )
        except PapermillExecutionError as error:
            sys.exit(f"FAILED   {name}: cell {error.cell_index}\n{_indent(error.source)}\n{_plain(error)}")
        executed = nbformat.read(done, as_version=4)
        seconds = executed.metadata.papermill.duration
        _check_outputs(name, executed)
        # Not in the others: a figure that is one digit longer there must not cost a run of minutes; its line wraps.
        if profile == "smoke":
            _check_width(name, executed)
        if left := [path.name for path in empty.iterdir()]:
            sys.exit(f"FAILED   {name}: the notebook left files in the reader's folder: {', '.join(left)}")
        figures = recorded / f"{source.stem}.json"
        if not figures.exists():
            sys.exit(f"FAILED   {name}: it records no figures; its last cell calls results.record({source.stem!r}, …)")
        result = {**json.loads(figures.read_text()), "seconds": round(seconds)}
        figures.write_text(json.dumps(result, indent=2) + "\n")
        nbformat.write(_without_traces(executed), done)
        (results := target.parents[1] / "results").mkdir(exist_ok=True)
        figures.replace(results / figures.name)
        done.replace(target)
    _say(f"done     {name} ({profile}) in {seconds:.0f} s{_progress(target.parents[1], chosen, jobs)}")


def _progress(build: Path, chosen: list[str], jobs: int) -> str:
    """Say how many of the chosen chapters are done, and about how long the others will take.

    They are expected to take as long as when they last ran, and one that never ran as long as the others on average.
    """
    done, due, seconds = 0, [], {}
    for name in chosen:
        notebook, mark = build / f"{name}.ipynb", build / f"{name}.due"
        if notebook.exists() and mark.exists() and notebook.stat().st_mtime >= mark.stat().st_mtime:
            done += 1
        elif mark.exists():
            due.append(name)
        if (figures := build / "results" / f"{Path(name).name}.json").exists():
            seconds[name] = json.loads(figures.read_text())["seconds"]
    if not due:
        return f"; {done} of {len(chosen)} done" if chosen else ""
    average = sum(seconds.values()) / max(len(seconds), 1)
    times = [seconds.get(name, average) for name in due]
    left = max(max(times), sum(times) / jobs)
    return f"; {done} of {len(chosen)} done, about {f'{left / 60:.0f} min' if left > 90 else f'{left:.0f} s'} left"


def _say(text: str) -> None:
    # One write a line, so that two jobs never share one.
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


# Characters in a line of code or of output that a page shows on a screen of 1,280 pixels.
WIDTH = 84


def _check_width(name: str, notebook: nbformat.NotebookNode) -> None:
    """Refuse a printed line that is wider than the page."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            for line in text.splitlines():
                if len(line) > WIDTH:
                    sys.exit(
                        f"FAILED   {name}: cell {number} prints a line of {len(line)} characters, and the page shows "
                        f"{WIDTH}:\n{_indent(line)}"
                    )


def _indent(source: str) -> str:
    return "\n".join(f"    {line}" for line in source.splitlines())


def _plain(error: PapermillExecutionError) -> str:
    traceback = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
    return "\n".join(traceback.splitlines()[-25:]) or f"{error.ename}: {error.evalue}"


def _check_outputs(name: str, notebook: nbformat.NotebookNode) -> None:
    """Refuse what a reader should not see: warnings, logs and progress bars (all on stderr), memory addresses."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            if output.get("name") == "stderr":
                sys.exit(f"FAILED   {name}: cell {number} writes to stderr:\n{_indent(text)}")
            if re.search(r"\bat 0x[0-9a-f]+", text):
                sys.exit(f"FAILED   {name}: cell {number} shows a memory address:\n{_indent(text)}")


def _without_traces(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop papermill's times and paths, which differ from run to run and from machine to machine."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    return notebook


def make_colab(environment: Path) -> None:
    """Make an environment that has the locked packages and the built wheel, but not the repository."""
    shutil.rmtree(environment, ignore_errors=True)
    _call(sys.executable, "-m", "venv", "--without-pip", environment)
    wheels = environment / "wheel"
    quiet = "--quiet", "--disable-pip-version-check", "--no-deps"
    _call(sys.executable, "-m", "pip", "wheel", *quiet, "--wheel-dir", wheels, ROOT)
    python = environment.resolve() / "bin" / "python"
    packages = next((environment / "lib").glob("python*/site-packages"))
    _call(sys.executable, "-m", "pip", "install", *quiet, "--target", packages, *wheels.glob("*.whl"))
    # A path in a .pth file is searched but its own .pth files are not read, so the editable install stays invisible.
    heavy = next((Path(sys.prefix) / "lib").glob("python*/site-packages"))
    (packages / "heavy.pth").write_text(f"{heavy}\n")
    kernel = environment / "share" / "jupyter" / "kernels" / KERNEL
    kernel.mkdir(parents=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Colab", "language": "python", "env": {"PYTHONPATH": ""}}
    (kernel / "kernel.json").write_text(json.dumps(spec))


def check(notebook: Path, environment: Path) -> None:
    """Run an executed notebook again, alone, in the student's environment; every output must be the same."""
    name = f"{notebook.parent.name}/{notebook.stem}"
    _say(f"checking {name}")
    with tempfile.TemporaryDirectory() as folder:
        alone, cache = Path(folder) / "alone", Path(folder) / "cache"
        alone.mkdir()
        shutil.copy(notebook, alone)
        variables = {
            **os.environ,
            "AIGC_COURSE_QUIET": "1",
            "AIGC_COURSE_DATA": str(cache),
            "JUPYTER_PATH": str((environment / "share" / "jupyter").resolve()),
            "PYTHONPATH": str(ROOT / "tools"),
        }
        variables.pop("AIGC_COURSE_RESULTS", None)
        where = "import aigc_course; print(aigc_course.__file__)"
        python = environment.resolve() / "bin" / "python"
        found = subprocess.run([python, "-c", where], cwd=alone, env={**variables, "PYTHONPATH": ""}, **_TEXT).stdout
        if not Path(found.strip()).is_relative_to(environment.resolve()):
            sys.exit(f"FAILED   {name}: the student's environment takes aigc_course from {found.strip()}")
        options = "--nbval", "-p", "nbval_strict", f"--nbval-kernel-name={KERNEL}", "--nbval-cell-timeout=900"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            folder,
            "-c",
            os.devnull,
        ]
        if subprocess.run([*command, *options, alone], env=variables, cwd=folder).returncode:
            sys.exit(f"FAILED   {name}: the second run differs from the first, or broke; see above")


_TEXT: dict[str, Any] = {"check": True, "text": True, "capture_output": True}


def _call(*command: Any) -> None:
    subprocess.run([str(word) for word in command], check=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run")
    one.add_argument("source", type=Path)
    one.add_argument("target", type=Path)
    one.add_argument("--profile", required=True)
    one.add_argument("--chosen", nargs="*", default=[], metavar="PART/CHAPTER", help="to say how many are left")
    one.add_argument("--jobs", type=int, default=1)
    two = commands.add_parser("colab")
    two.add_argument("environment", type=Path)
    three = commands.add_parser("check")
    three.add_argument("notebook", type=Path)
    three.add_argument("--environment", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.command == "run":
        try:
            run(arguments.source, arguments.target, arguments.profile, arguments.chosen, arguments.jobs)
        except SystemExit:
            # It is not waited for any more; the next call of Make finds no mark and makes both.
            arguments.target.with_suffix(".due").unlink(missing_ok=True)
            raise
    elif arguments.command == "colab":
        make_colab(arguments.environment)
    else:
        check(arguments.notebook, arguments.environment)


if __name__ == "__main__":
    main()
