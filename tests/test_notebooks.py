"""What every chapter's source has in common, so that it reads well in the book, on Colab and in an editor."""

import itertools
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import jupytext
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import book  # noqa: E402

CHAPTERS = book.chapters(ROOT)
SOURCES = sorted(path for path in (ROOT / "notebooks").glob("*/*.py"))


@pytest.fixture(params=CHAPTERS)
def chapter(request):
    return jupytext.read(ROOT / "notebooks" / f"{request.param}.py")


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_every_source_is_in_the_table_of_contents():
    toc = (ROOT / "_toc.yml").read_text()
    listed = set(re.findall(r"file: notebooks/(\S+)", toc))
    assert listed == {f"{path.parent.name}/{path.stem}" for path in SOURCES}


def test_cells_stand_in_their_order(chapter):
    first = chapter.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert "results.md" in first.source, "the title cell links to the measured time"
    parameters, install, *_ = code_cells(chapter)
    assert parameters.metadata.tags == ["parameters"]
    assert parameters.source.startswith('profile = "auto"')
    assert install.metadata.tags == ["hide-input"]
    assert "run_line_magic" in install.source


def first_cell(chapter):
    return code_cells(jupytext.read(ROOT / "notebooks" / f"{chapter}.py"))[1].source


def test_all_chapters_install_the_package_with_the_same_cell_from_the_books_repository():
    cells = {first_cell(chapter) for chapter in CHAPTERS}
    assert len(cells) == 1
    assert f'"git+{book.repository(ROOT)}"' in cells.pop()


def run_first_cell(tmp_path, package, then):
    """Run the cell where no package is installed but `package`, the text of aigc_course/__init__.py; None: without it.

    Its %pip puts an empty package into a folder that Python has already searched. Returns what is printed: the
    arguments of %pip, if it was called, and what `then` prints.
    """
    site = tmp_path / "site"
    site.mkdir()
    if package is not None:
        (site / "aigc_course").mkdir()
        (site / "aigc_course" / "__init__.py").write_text(package)
    script = textwrap.dedent(
        f"""
        import os, pathlib, sys
        sys.path.append({str(site)!r})
        try:
            import something_else
        except ModuleNotFoundError:  # now the folder's list of files is in Python's memory
            pass

        class Shell:
            def run_line_magic(self, name, line):
                print(name, line)
                folder = pathlib.Path({str(site)!r}) / "aigc_course"
                before = folder.parent.stat()
                folder.mkdir()
                (folder / "__init__.py").touch()
                # As on a disk whose clock is coarse: Python cannot see that the folder has changed.
                os.utime(folder.parent, ns=(before.st_atime_ns, before.st_mtime_ns))

        def get_ipython():
            return Shell()
        """
    )
    # -S: without site-packages. A Colab notebook runs in a process that has long been started.
    call = [sys.executable, "-I", "-S", "-c", f"{script}\n{first_cell(CHAPTERS[0])}\n{then}"]
    return subprocess.run(call, cwd=tmp_path, text=True, capture_output=True)


def test_the_first_cell_installs_the_package_where_it_is_missing(tmp_path):
    done = run_first_cell(tmp_path, None, "import aigc_course")
    assert done.returncode == 0, done.stderr
    magic, *arguments = shlex.split(done.stdout)
    requirement = f"aigc-course[games,music] @ git+{book.repository(ROOT)}"
    assert (magic, arguments) == ("pip", ["install", "-q", requirement])


def test_the_first_cell_does_nothing_where_the_package_is(tmp_path):
    done = run_first_cell(tmp_path, "", "import aigc_course")
    assert (done.returncode, done.stdout) == (0, "")


def test_the_first_cell_leaves_a_missing_dependency_to_its_own_error(tmp_path):
    done = run_first_cell(tmp_path, "import something_it_needs", "import aigc_course")
    assert done.stdout == ""
    assert "No module named 'something_it_needs'" in done.stderr


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_code_fits_the_page(source):
    width = tomllib.loads((ROOT / "notebooks" / "ruff.toml").read_text())["line-length"]
    assert width == 84, "what a page shows on a screen of 1,280 pixels"
    for cell in jupytext.read(source).cells:
        fenced = re.findall(r"^```.*?^```", cell.source, re.M | re.S)
        for code in [cell.source] if cell.cell_type == "code" else fenced:
            for line in code.splitlines():
                assert len(line) <= width, f"{len(line)} characters:\n{line}"


def test_code_cells_are_short(chapter):
    for cell in code_cells(chapter):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= 15, f"{len(lines)} lines:\n{cell.source}"


def test_every_picture_has_alt_text(chapter):
    for cell in code_cells(chapter):
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if alt:
            assert re.search(r"plt\.show\(\)|display\(", cell.source), f"no picture belongs to the text {alt!r}"
        if "plt.show()" in cell.source:
            assert len(alt) > 20, f"say in words what is seen:\n{cell.source}"
            assert cell.source.count("plt.show()") == 1


def test_prose_is_plain_markdown(chapter):
    for cell in chapter.cells:
        if cell.cell_type == "markdown":
            raw = re.findall(r"\{[a-z:-]+\}`|^:::|^```\{", cell.source, re.M)
            assert not raw, f"a directive that only the book understands: {raw}"


def test_headings_step_down_by_one(chapter):
    prose = "\n".join(cell.source for cell in chapter.cells if cell.cell_type == "markdown")
    levels = [len(mark) for mark in re.findall(r"^(#+) ", re.sub(r"^```.*?^```", "", prose, flags=re.M | re.S), re.M)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_solutions_are_folded(chapter):
    solutions = [cell for cell in code_cells(chapter) if cell.source.startswith("# @title Solution")]
    assert solutions, "a chapter has self-check exercises with tested solutions"
    assert all("hide-cell" in cell.metadata.tags for cell in solutions)


def test_the_last_code_records_and_promises(chapter):
    shown = [cell for cell in code_cells(chapter) if "hide-cell" not in cell.metadata.get("tags", [])]
    last = "\n".join(cell.source for cell in shown[-3:])  # to record, to print and to promise
    assert "results.record(" in last
    assert "assert " in shown[-1].source
    assert last.index("results.record(") < last.rindex("assert ")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_relative_links_lead_somewhere(source):
    for target in re.findall(r"\]\((?!\w+:)([^)#]+)(?:#[^)]*)?\)", source.read_text()):
        path = (source.parent / target).resolve()
        made = path.with_suffix(".py") if path.suffix == ".ipynb" else path
        assert made.exists() or path.name == "results.md", f"{source.name} links to {target}"


def test_links_lead_to_the_site_where_colab_opens_them():
    text = "[a](../vae/x.ipynb), [b](../../book/errata.md#errata-vae), [c](https://arxiv.org/abs/1312.6114)"
    found = book._absolute(text, "https://example.org/course", Path("notebooks/foundations"))
    assert found == (
        "[a](https://example.org/course/notebooks/vae/x.html), "
        "[b](https://example.org/course/book/errata.html#errata-vae), [c](https://arxiv.org/abs/1312.6114)"
    )
