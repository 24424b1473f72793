"""The course as others get it: the wheel, what works without the extras, and the environment that Make sets up."""

import importlib.util
import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import textwrap
import zipfile
from pathlib import Path

import pytest

from aigc_course import dqn
from aigc_course.data import games, load_text

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / "tools" / "environment.py"


def packed(folder: Path, source: Path, target: str) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    done = subprocess.run(command, cwd=source, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl" if target == "wheel" else "*.tar.gz"))


def modules_and_data(wheel: Path) -> list[str]:
    names = zipfile.ZipFile(wheel).namelist()
    return sorted(name for name in names if ".dist-info/" not in name)


def test_wheel_and_sdist_hold_the_whole_package(tmp_path: Path) -> None:
    files = [path for path in (ROOT / "aigc_course").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    expected = sorted(path.relative_to(ROOT).as_posix() for path in files)
    assert "aigc_course/judge.safetensors" in expected
    assert modules_and_data(packed(tmp_path / "wheel", ROOT, "wheel")) == expected
    with tarfile.open(packed(tmp_path / "sdist", ROOT, "sdist")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    assert modules_and_data(packed(tmp_path / "again", source, "wheel")) == expected


def test_every_module_imports_without_the_extras() -> None:
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "aigc_course").rglob("*.py")]
    code = f"""
        import importlib, sys
        sys.modules.update(dict.fromkeys(("ale_py", "minatar", "music21")))
        for name in {modules}:
            importlib.import_module(name.removesuffix(".__init__"))
        from aigc_course import dqn
        dqn.make_games("CartPole-v1", 1).close()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("missing", "call", "extra"),
    [
        ("ale_py", lambda: dqn.make_games("ALE/Pong-v5", 1), "games"),
        ("ale_py", lambda: games.play_river_raid(32, {"train": 1}), "games"),
        ("minatar", lambda: dqn.make_games("MinAtar/Breakout-v1", 1), "games"),
        ("music21", lambda: load_text("folk_tunes"), "music"),
    ],
)
def test_what_needs_an_extra_says_which(missing: str, call, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == missing or name.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError, match=rf'^{missing}\b.* pip install "aigc-course\[{extra}\]"$') as raised:
        call()
    assert raised.value.name is not None
    assert raised.value.name.split(".")[0] == missing


# --- The environment that Make sets up, here with a package of one line and nothing else ------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / f"it's a course, #1 of 100 % (ü) {'long' * 30}"
    for name in ("Makefile", "tools/environment.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "_toc.yml").touch()
    (folder / "requirements.txt").touch()
    project = '[build-system]\nrequires = []\nbuild-backend = "hatchling.build"\n'
    project += '[project]\nname = "aigc-course"\nversion = "1"\n[tool.hatch.build]\ndev-mode-dirs = ["."]\n'
    (folder / "pyproject.toml").write_text(project)
    (folder / "aigc_course").mkdir()
    (folder / "aigc_course" / "__init__.py").touch()
    return folder


def make(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    # Only the build system is found through PYTHONPATH: pip runs isolated.
    added = {"PYTHONPATH": sysconfig.get_path("purelib"), "PIP_NO_INDEX": "1", "SYSTEM_PYTHON": sys.executable}
    return subprocess.Popen(
        ["make", *(arguments or [".venv/.ready"])],
        cwd=folder,
        env={**os.environ, **added},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def said(process: "subprocess.Popen[str]", status: int = 0) -> str:
    output, _ = process.communicate(timeout=300)
    assert (process.returncode != 0) == (status != 0), output
    return output


def code_of(folder: Path) -> str:
    """Return where the environment finds the package, asked through a script that pip wrote."""
    pip = subprocess.run([folder / ".venv/bin/pip", "--version"], text=True, capture_output=True, check=True)
    assert f"from {folder.resolve()}/.venv/" in pip.stdout
    command = [str(folder / ".venv/bin/python"), "-I", "-c", "import aigc_course; print(aigc_course.__file__)"]
    return subprocess.run(command, text=True, capture_output=True, check=True).stdout.strip()


def test_a_copied_checkout_sets_up_its_own_environment(checkout: Path) -> None:
    assert "Setting up" in said(make(checkout))
    assert code_of(checkout) == str(checkout.resolve() / "aigc_course" / "__init__.py")
    assert "Setting up" not in said(make(checkout))
    copy = checkout.with_name("copy")
    shutil.copytree(checkout, copy, symlinks=True)
    assert "Setting up" in said(make(copy))
    assert code_of(copy) == str(copy.resolve() / "aigc_course" / "__init__.py")


def test_of_two_calls_at_once_one_sets_up(checkout: Path) -> None:
    outputs = "".join([said(process) for process in [make(checkout), make(checkout)]])
    assert outputs.count("Setting up") == 1
    assert code_of(checkout)


def test_an_interrupted_set_up_is_repaired(checkout: Path) -> None:
    (checkout / "requirements.txt").write_text("a-package-that-is-not-there\n")
    assert "is not ready, since this failed: " in said(make(checkout), status=2)
    shutil.rmtree(next((checkout / ".venv/lib").glob("python*/site-packages/pip")))
    (checkout / "requirements.txt").write_text("")
    assert "Setting up" in said(make(checkout))
    # And one whose Python was removed from the machine.
    (checkout / ".venv/bin/python").unlink()
    (checkout / ".venv/bin/python").symlink_to(checkout / "removed")
    assert "Setting up" in said(make(checkout))
    assert code_of(checkout)


def environment_tool(folder: Path, environment: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [str(TOOL), str(environment)])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(TOOL), run_name="__main__")
    return str(left.value.code)


@pytest.mark.parametrize("version", [(3, 10, 4), (3, 14, 0)])
def test_another_python_is_refused(checkout: Path, version: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    message = environment_tool(checkout, Path(".venv"), monkeypatch)
    assert "Python 3.11, 3.12 or 3.13 is needed (3.14 is not supported yet)" in message
    assert f"is Python {'.'.join(map(str, version))}" in message
    assert "make SYSTEM_PYTHON=python3.13" in message
    assert not (checkout / ".venv").exists()


def test_a_python_that_cannot_make_environments(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    version = ".".join(map(str, sys.version_info[:2]))
    assert f"apt install python{version}-venv" in environment_tool(checkout, Path(".venv"), monkeypatch)


def test_a_path_that_scripts_cannot_hold_is_refused(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkout.rename(tmp_path / 'my "course" for $5')
    assert 'holds " and $: scripts cannot name it. Rename it.' in environment_tool(folder, Path(".venv"), monkeypatch)
    assert not (folder / ".venv").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["thesis.tex"], "is not empty and not an environment"),
        (["pyvenv.cfg", "thesis.tex"], "was not set up by this checkout"),
        (["pyvenv.cfg", ".ready"], "belongs to the other checkout"),
    ],
)
def test_a_folder_of_someone_else_is_not_cleared(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], message: str
) -> None:
    (tmp_path / "other").mkdir()
    for name in files:
        (tmp_path / "other" / name).write_text("the other checkout")
    assert message in environment_tool(checkout, tmp_path / "other", monkeypatch)
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == sorted(files)
