"""Run a chapter's notebook, or check an executed one by running it again as a student on Colab would.

python tools/chapter.py run notebooks/vae/x.py build/cpu/vae/x.ipynb --profile cpu
python tools/chapter.py colab build/colab
python tools/chapter.py check build/cpu/vae/x.ipynb --environment build/colab
"""

import argparse
import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
import platformdirs
from clean_environment import clean_environment
from IPython.core.inputtransformer2 import TransformerManager
from papermill.exceptions import PapermillExecutionError

ROOT = Path(__file__).resolve().parent.parent


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


def run(source: Path, target: Path, profile: str, chosen: list[str], jobs: int, perturb: int) -> None:
    """Execute a chapter and move the notebook, then its recorded figures, into place whole.

    `chosen` names the chapters that Make was asked for, and `jobs` is how many run at a time: for the time left. With
    `perturb` above 0 other random numbers are drawn, and the chapter's assertions tell whether its text still holds.
    """
    name = f"{source.parent.name}/{source.stem}"
    if perturb:
        name += f", perturbation {perturb}"
    notebook = read_source(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    # A person may stop Make at any time; leave nothing of the attempt behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"{name}: stopped"))
    _say(f"running  {name} ({profile})")
    with tempfile.TemporaryDirectory(prefix=f".{target.stem}-", dir=target.parent) as folder:
        plain, done, recorded = Path(folder) / "source.ipynb", Path(folder) / "done.ipynb", Path(folder) / "results"
        (empty := Path(folder) / "empty").mkdir()
        nbformat.write(notebook, plain)
        # Read before the home is another one: a chapter takes over models that others trained, in earlier runs too.
        data = os.environ.get("AIGC_COURSE_DATA") or platformdirs.user_cache_dir("aigc-course")
        variables = clean_environment(Path(folder) / "settings")
        variables["AIGC_COURSE_DATA"] = str(Path(data).expanduser().absolute())
        variables["AIGC_COURSE_RESULTS"] = str(recorded.resolve())
        if perturb:
            # Far from the seeds that a chapter compares, which are small numbers that follow each other.
            code = f"sys.path.append({str(ROOT / 'tools')!r})\nimport perturb\nperturb.shift({1000 * perturb})\n"
            startup = Path(variables["HOME"]) / ".ipython" / "profile_default" / "startup"
            startup.mkdir(parents=True)
            (startup / "other_seeds.py").write_text("import sys\n" + code, encoding="utf-8")
        os.environ.clear()
        os.environ.update(variables)
        for attempt in (1, 2):
            try:
                papermill.execute_notebook(
                    plain,
                    done,
                    {"profile": profile},
                    kernel_name="python3",
                    cwd=empty,
                    progress_bar=sys.stderr.isatty(),
                    # The kernel listens on this machine only; the warning that it does so unencrypted would hide ours.
                    extra_arguments=["--log-level=ERROR"],
                )
                break
            except PapermillExecutionError as error:
                sys.exit(f"FAILED   {name}: cell {error.cell_index}\n{_indent(error.source)}\n{_plain(error)}")
            except RuntimeError as error:
                # No cell has run: another program took a port between Jupyter's choice and the kernel's use of it, and
                # the kernel ended with "Address already in use". It is started once more.
                if attempt == 2 or not str(error).startswith(("Kernel died before", "Kernel didn't respond")):
                    raise
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
    """Refuse what a reader should not see: warnings, logs and progress bars (all on stderr), memory addresses.

    And what a reader would miss: a picture or another output that the cell's source promises.
    """
    for number, cell in enumerate(notebook.cells):
        if missing := _missing(cell):
            sys.exit(f"FAILED   {name}: cell {number} {missing}:\n{_indent(cell.source)}")
        for output in cell.get("outputs", []):
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            if output.get("name") == "stderr":
                sys.exit(f"FAILED   {name}: cell {number} writes to stderr:\n{_indent(text)}")
            if re.search(r"\bat 0x[0-9a-f]+", text):
                sys.exit(f"FAILED   {name}: cell {number} shows a memory address:\n{_indent(text)}")


def promises_picture(cell: nbformat.NotebookNode) -> bool:
    """Tell whether a cell is sure to show a picture: it has alt text, and shows nothing only under a condition."""
    alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt")
    shows = len(re.findall(r"\bplt\.show\(|\bdisplay\(", cell.source))
    return cell.cell_type == "code" and bool(alt) and shows <= len(_displays(cell))


def _missing(cell: nbformat.NotebookNode) -> str:
    if cell.cell_type != "code":
        return ""
    shown = [output for output in cell.outputs if output.output_type == "display_data"]
    if len(shown) < len(_displays(cell)):
        return f"calls plt.show() or display(…), but shows {len(shown)} of {len(_displays(cell))} outputs"
    data = [kind for output in cell.outputs for kind in output.get("data", {})]
    if promises_picture(cell) and not any(kind.startswith("image/") for kind in data):
        return "has alt text, but shows no picture"
    if _ends_with_a_value(cell) and not any(output.output_type == "execute_result" for output in cell.outputs):
        return "ends with a value, but does not show it"
    return ""


def _statements(cell: nbformat.NotebookNode) -> list[ast.stmt]:
    return ast.parse(TransformerManager().transform_cell(cell.source)).body


def _displays(cell: nbformat.NotebookNode) -> list[ast.expr]:
    """The calls of `plt.show` and `display` that run whenever the cell does."""

    def calls(statements: list[ast.stmt]) -> Iterator[ast.expr]:
        for statement in statements:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
                if ast.unparse(statement.value.func) in ("plt.show", "display"):
                    yield statement.value
            elif isinstance(statement, (ast.With, ast.For)):
                yield from calls(statement.body)

    return list(calls(_statements(cell)))


def _ends_with_a_value(cell: nbformat.NotebookNode) -> bool:
    """Tell whether the last line is a value to show, such as `table` or `Audio(…)`; a function may return None."""
    statements = _statements(cell)
    if not statements or not isinstance(statements[-1], ast.Expr) or cell.source.rstrip().endswith(";"):
        return False
    value = statements[-1].value
    if isinstance(value, ast.Call):
        return ast.unparse(value.func).split(".")[-1][:1].isupper()
    return not (isinstance(value, ast.Constant) and value.value is None)


def _without_traces(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop papermill's times, paths and random id, which differ from run to run and from machine to machine."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.id = "injected-parameters"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    return notebook


def make_colab(environment: Path) -> None:
    """Make an environment that has the locked packages and the built wheel, but not the repository."""
    shutil.rmtree(environment, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        variables = clean_environment(Path(folder))

        def call(*words: str | Path) -> None:
            subprocess.run([sys.executable, "-m", *words], env=variables, check=True)

        call("venv", "--without-pip", environment)
        wheels = environment / "wheel"
        quiet = "--quiet", "--disable-pip-version-check", "--no-deps"
        # The environment has what builds the wheel, so nothing is downloaded.
        call("pip", "wheel", *quiet, "--no-build-isolation", "--wheel-dir", wheels, ROOT)
        packages = next((environment / "lib").glob("python*/site-packages"))
        call("pip", "install", *quiet, "--target", packages, *wheels.glob("*.whl"))
    # A path in a .pth file is searched but its own .pth files are not read, so the editable install stays invisible.
    heavy = next((Path(sys.prefix) / "lib").glob("python*/site-packages"))
    (packages / "heavy.pth").write_text(f"{heavy}\n")


def check(notebook: Path, environment: Path) -> None:
    """Run an executed notebook again, alone, in the student's environment; every output must be the same."""
    name = f"{notebook.parent.name}/{notebook.stem}"
    _say(f"checking {name}")
    with tempfile.TemporaryDirectory() as folder:
        (alone := Path(folder) / "alone").mkdir()
        shutil.copy(notebook, alone)
        python = environment.resolve() / "bin" / "python"
        variables = clean_environment(Path(folder) / "settings", python)
        # Sets of strings come in another order than in the first run; no output may hang on it.
        variables["PYTHONHASHSEED"] = "1"
        where = "import aigc_course; print(aigc_course.__file__)"
        found = subprocess.run([python, "-c", where], cwd=alone, env=variables, **_TEXT).stdout
        if not Path(found.strip()).is_relative_to(environment.resolve()):
            sys.exit(f"FAILED   {name}: the student's environment takes aigc_course from {found.strip()}")
        # pytest finds the plugin in the folder that it is called in.
        shutil.copy(ROOT / "tools" / "nbval_strict.py", folder)
        options = "--nbval", "-p", "nbval_strict", "--nbval-kernel-name=python3", "--nbval-cell-timeout=900"
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
        # A kernel that never answered has compared nothing. It happens once in some hundred starts; a likely reason is
        # that another program took a port between Jupyter's choice and the kernel's use of it. It is started once more.
        for _ in range(2):
            done = subprocess.run(
                [*command, *options, alone],
                env=variables,
                cwd=folder,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            if "RuntimeError: Kernel didn't respond" not in done.stdout:
                break
        print(done.stdout, end="", flush=True)
        if done.returncode:
            sys.exit(f"FAILED   {name}: the second run differs from the first, or broke; see above")


_TEXT: dict[str, Any] = {"check": True, "text": True, "capture_output": True}


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
    one.add_argument(
        "--perturb", type=int, default=0, help="number of a set of other random numbers (default: 0, none)"
    )
    two = commands.add_parser("colab")
    two.add_argument("environment", type=Path)
    three = commands.add_parser("check")
    three.add_argument("notebook", type=Path)
    three.add_argument("--environment", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.command == "run":
        try:
            run(
                arguments.source,
                arguments.target,
                arguments.profile,
                arguments.chosen,
                arguments.jobs,
                arguments.perturb,
            )
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
