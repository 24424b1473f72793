"""The book's own pages say what the rest of the repository holds: addresses, games, licences."""

import re
import shutil
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml
from chapter import promises_picture

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import book  # noqa: E402

SOURCES = [
    path
    for pattern in ("*", ".github/**/*", "book/*", "notebooks/*/*.py", "aigc_course/**/*.py", "tools/*", "benchmarks/*")
    for path in ROOT.glob(pattern)
    if path.is_file() and path.suffix in (".py", ".md", ".yml", ".toml", ".cff", "")
]


def test_the_repositorys_address_stands_where_it_is_known_to_and_nowhere_else():
    holders = {path for path in SOURCES if book.repository() in path.read_text(encoding="utf-8", errors="ignore")}
    assert holders == set(book.address_files())


def test_one_call_moves_the_course_to_another_repository(tmp_path):
    files = {path.relative_to(ROOT) for path in [ROOT / "_toc.yml", *book.address_files()]}
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    book.move("https://github.com/somebody/their-course", tmp_path)
    assert book.repository(tmp_path) == "https://github.com/somebody/their-course"
    old = book.repository(ROOT)
    for name in files:
        before, after = ((root / name).read_text(encoding="utf-8") for root in (ROOT, tmp_path))
        assert before.count(old) == after.count("https://github.com/somebody/their-course")
        assert old not in after


@pytest.mark.parametrize("address", ["github.com/a/b", "https://github.com/a", "https://github.com/a/b.git"])
def test_a_wrong_address_is_refused(address, tmp_path):
    with pytest.raises(ValueError, match="it takes https:"):
        book.move(address, tmp_path)


def test_every_game_that_a_chapter_opens_is_on_the_page_of_licences():
    page = (ROOT / "book" / "data_and_licences.md").read_text(encoding="utf-8").replace(" ", "")
    for source in ROOT.glob("notebooks/*/*.py"):
        opened = re.findall(r"(?:gym\.make|make_games)\(\s*\"(?:\w+/)?(\w+)-v\d\"", source.read_text(encoding="utf-8"))
        missing = {game for game in opened if game not in page}
        assert not missing, f"{source.name} plays {missing}"


def test_frames_of_games_are_excepted_from_the_licence_of_the_pictures():
    for name in ("LICENSE-CONTENT", "book/data_and_licences.md"):
        assert re.search(r"Excepted\W+are\s+pictures\s+that\s+show\s+frames", (ROOT / name).read_text(encoding="utf-8"))


def test_every_part_has_one_picture_in_the_introduction():
    parts = [name.split("/")[0] for name in book.chapters()]
    assert [name.split("/")[0] for name in book.GALLERY] == [
        part for part in dict.fromkeys(parts) if part != "exercises"
    ]


@pytest.mark.parametrize("name", book.GALLERY)
def test_the_picture_of_the_introduction_is_marked_in_its_chapter(name):
    assert promises_picture(book.gallery_cell(jupytext.read(ROOT / "notebooks" / f"{name}.py")))


def test_the_gallery_shows_the_chapters_that_were_run(tmp_path):
    for name in book.chapters():
        (tmp_path / "notebooks" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "notebooks" / f"{name}.py").write_text("# %% [markdown]\n# # The title\n")
    assert "None of the chapters" in book.gallery("cpu", tmp_path)
    built = tmp_path / "build" / "cpu" / "vae" / "variational_autoencoder.ipynb"
    built.parent.mkdir(parents=True)
    cell = nbformat.v4.new_code_cell(
        "plt.show()", metadata={"tags": ["gallery"], "mystnb": {"image": {"alt": "A: digits"}}}
    )
    cell.outputs = [nbformat.v4.new_output("display_data", {"image/png": "UE5H"})]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), built)
    page = book.gallery("cpu", tmp_path)
    assert page.count("grid-item-card") == 1
    assert ':img-alt: "A: digits"' in page
    assert ":link: ../notebooks/vae/variational_autoencoder\n" in page
    assert (tmp_path / "book" / "gallery" / "variational_autoencoder.png").read_bytes() == b"PNG"
    assert "nothing is trained for long" not in page


def test_the_plan_for_a_term_holds_every_chapter_and_every_assignment_once():
    weeks = yaml.safe_load((ROOT / "book" / "plan.yml").read_text(encoding="utf-8"))
    assert len(weeks) == 12
    assert sorted(name for week in weeks for name in week["chapters"]) == sorted(book.chapters())
    assignments = {path.stem for path in ROOT.glob("notebooks/exercises/*.py")}
    assert {week["assignment"] for week in weeks if "assignment" in week} == assignments
    assert all(week["topic"] and week["cut"] for week in weeks)


def test_the_plan_says_how_long_a_chapter_took_or_that_it_was_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(book, "recorded", lambda name, *_: {"seconds": 150} if name == "rl/dqn" else None)
    page = book.plan("cpu")
    assert "[Deep Q-learning](../notebooks/rl/dqn.ipynb), 2 min 30 s" in page
    assert page.count("not run") == len(book.chapters()) - 1


TAKES_OVER = [
    name
    for name in book.chapters(ROOT)
    if ".pretrained(" in (ROOT / "notebooks" / f"{name}.py").read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", TAKES_OVER)
def test_a_chapter_that_takes_over_a_model_waits_for_it_and_says_what_a_fresh_machine_trains(name):
    page = (ROOT / "book" / "how_to_use.md").read_text(encoding="utf-8")
    rows = [line for line in page.split("these are trained first")[1].splitlines() if line.startswith("| [")]
    assert any(f"notebooks/{name}.ipynb" in row.split(" | ")[0] for row in rows)
    rules = [line for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if ": | $(BUILD)/" in line]
    assert any(f"$(BUILD)/{name}.ipynb" in rule.split(": |")[0] for rule in rules)


def test_the_map_of_the_course_leads_to_every_chapter():
    start = "foundations/generative_models"
    text = (ROOT / "notebooks" / f"{start}.py").read_text(encoding="utf-8")
    for name in set(book.chapters(ROOT)) - {start}:
        assert re.search(rf"\((\.\./)?[\w/]*{name.split('/')[1]}\.ipynb\)", text), f"the map does not lead to {name}"
