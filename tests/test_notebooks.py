"""What every chapter's source has in common, so that it reads well in the book, on Colab and in an editor."""

import itertools
import re
import sys
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
    assert "google.colab" in install.source
    assert "run_line_magic" in install.source


def test_code_cells_are_short(chapter):
    for cell in code_cells(chapter):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= 15, f"{len(lines)} lines:\n{cell.source}"


def test_every_picture_has_alt_text(chapter):
    for cell in code_cells(chapter):
        if "plt.show()" in cell.source:
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
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
    last = [cell for cell in code_cells(chapter) if "hide-cell" not in cell.metadata.get("tags", [])][-1]
    assert "results.record(" in last.source
    assert "assert " in last.source


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
