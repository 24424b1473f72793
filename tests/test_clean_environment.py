"""No setting of a person's acts in a chapter or its second run, and missing settings are no obstacle."""

import json
import shutil
import textwrap
from pathlib import Path

import nbformat
import pytest
from clean_environment import clean_environment
from test_make import ALT, chapter, make
from test_make import repository as repository

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
# What a setting could change shows in one of the outputs.
CODE = """
import colorsys, locale, os, sys, tempfile, time, warnings
from pathlib import Path

import matplotlib.pyplot as plt
import torch

Path(tempfile.mkdtemp(), "text").write_text("größer ≥")
warnings.warn("an old call", PendingDeprecationWarning)
print(torch.get_num_threads(), sys.flags.optimize, locale.getpreferredencoding(), "größer ≥")
print(time.localtime(0).tm_hour, plt.rcParams["figure.figsize"], Path.home().is_dir())
if "AIGC_COURSE_RESULTS" in os.environ:  # the second run has files of its own
    assert Path(os.environ["AIGC_COURSE_DATA"]) == Path("FILES")
plt.plot([1, 2])
plt.show()
"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def settings(home):
    """Fill a home with settings each of which breaks a chapter or changes what it shows."""
    broken = {"argv": ["/bin/false", "{connection_file}"], "display_name": "mine", "language": "python"}
    write(home / ".local/share/jupyter/kernels/python3/kernel.json", json.dumps(broken))
    write(home / ".config/matplotlib/matplotlibrc", "figure.figsize: 2, 2\nbackend: Agg\n")
    write(home / ".ipython/profile_default/startup/00-mine.py", "import os; os._exit(3)")
    write(home / ".ipython/profile_default/ipython_config.py", "c.InteractiveShell.ast_node_interactivity = 'none'")
    write(home / ".jupyter/jupyter_config.json", '{"KernelManager": {"kernel_name": "none"}}')


def hostile(folder):
    """Return variables that lead to such settings, and all others that Python and its packages read."""
    settings(folder / "home")
    for name in ("torch", "colorsys"):
        write(folder / f"packages/{name}.py", "raise ImportError('not the real one')")
    write(folder / "packages/sitecustomize.py", "import os, sys\nif '-f' in sys.orig_argv: os._exit(3)")
    home = folder / "home"
    return {
        "HOME": "/dev/null/home",
        "XDG_CACHE_HOME": "/dev/null/cache",
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "MPLBACKEND": "Agg",
        "MATPLOTLIBRC": str(home / ".config/matplotlib/matplotlibrc"),
        "MPLCONFIGDIR": str(home / ".config/matplotlib"),
        "IPYTHONDIR": str(home / ".ipython"),
        "JUPYTER_PATH": str(home / ".local/share/jupyter"),
        "JUPYTER_DATA_DIR": str(home / ".local/share/jupyter"),
        "JUPYTER_CONFIG_DIR": str(home / ".jupyter"),
        "JUPYTER_RUNTIME_DIR": "/dev/null/runtime",
        "JUPYTER_PREFER_ENV_PATH": "0",
        "PYTHONPATH": str(folder / "packages"),
        "PYTHONSTARTUP": "/dev/null/start.py",
        "PYTHONOPTIMIZE": "2",
        "PYTHONHASHSEED": "7",
        "PYTHONWARNINGS": "always",
        "PYTHONUTF8": "0",
        "PYTHONIOENCODING": "ascii",
        "PYTHONCOERCECLOCALE": "0",
        "LC_ALL": "C",
        "LANG": "C",
        "TZ": "Asia/Tokyo",
        "TMPDIR": "/dev/null/tmp",
        "OMP_NUM_THREADS": "7",
        "MKL_NUM_THREADS": "7",
        "OPENBLAS_NUM_THREADS": "7",
        "TORCH_LOGS": "+all",
        "COLUMNS": "20",
        "FORCE_COLOR": "1",
        "PYTEST_ADDOPTS": "--no-such-option",
        "AIGC_COURSE_RESULTS": "/dev/null/results",
    }


@pytest.fixture
def small(repository, tmp_path):
    """Run one small chapter, from nothing, with more variables; return the notebook."""
    data = tmp_path / "data"
    source = chapter("three", CODE.replace("FILES", str(data)).strip())
    write(
        repository / "notebooks/vae/three.py", source.replace("# %%\nimport colorsys", f"# %% {ALT}\nimport colorsys")
    )

    def run(variables, target="build/smoke/vae/three.ipynb"):
        shutil.rmtree(repository / "build", ignore_errors=True)
        done = make(repository, "CHAPTERS=three", target=target, variables={"AIGC_COURSE_DATA": str(data), **variables})
        assert done.returncode == 0, done.stdout
        return (repository / "build/smoke/vae/three.ipynb").read_bytes()

    return run


def test_a_chapter_and_its_second_run_are_the_same_whatever_the_variables_say(small, tmp_path):
    expected = small({})
    notebook = nbformat.reads(expected.decode(), as_version=4)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.cells[3].outputs[0].text.startswith("1 0 utf-8")
    variables = hostile(tmp_path / "hostile")
    # Make's own tools do not look there either.
    for name in ("papermill", "pip", "nbval_strict"):
        write(tmp_path / f"hostile/packages/{name}.py", "raise ImportError('not the real one')")
    assert small(variables, "build/smoke/vae/three.checked") == expected


def test_a_chapter_is_the_same_whatever_stands_in_the_home(small, tmp_path):
    settings(tmp_path / "home")
    assert small({"HOME": str(tmp_path / "home")}) == small({})
    assert not (tmp_path / "home/.cache").exists()


def test_what_older_openblas_must_know_about_the_processor_is_passed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    variables = clean_environment(tmp_path)
    assert variables["OPENBLAS_CORETYPE"] == "Haswell"
    assert variables["CUDA_VISIBLE_DEVICES"] == "1"
    assert "OPENBLAS_NUM_THREADS" not in variables
