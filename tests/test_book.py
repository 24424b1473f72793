"""The built book: nothing it shows leaves the reader's machine, and every picture can be heard."""

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from chapter import promises_picture

HTML = Path(os.environ["BOOK_HTML"])
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BUILD = HTML.parents[1]
PAGES = sorted(path for folder in ("book", "notebooks") for path in (HTML / folder).rglob("*.html"))
# The chapters that were run; the pages of others have no outputs.
RUN = sorted(BUILD.glob("*/*.ipynb"))


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.fixture(params=PAGES, ids=lambda page: page.stem)
def tags(request):
    parser = Tags()
    parser.feed(request.param.read_text(encoding="utf-8"))
    return parser.found


def test_the_book_has_all_its_pages():
    toc = (Path(__file__).resolve().parent.parent / "_toc.yml").read_text()
    listed = set(re.findall(r"(?:file|root): (\S+)", toc))
    assert {str(page.relative_to(HTML).with_suffix("")) for page in PAGES} == listed


def test_no_request_leaves_the_machine(tags):
    for tag, attributes in tags:
        if tag in ("script", "img", "iframe", "source"):
            source = attributes.get("src") or ""
            # What stands in the page itself need not be fetched.
            assert source.startswith("data:") or "//" not in source, attributes
        if tag == "link" and attributes.get("rel") not in ("canonical", "alternate"):
            assert "//" not in (attributes.get("href") or ""), attributes


def test_every_picture_has_alt_text(tags):
    for tag, attributes in tags:
        if tag == "img":
            alt = attributes.get("alt") or ""
            assert alt.strip(), attributes
            assert not re.match(r"(\.\./)*_images/", alt), attributes


@pytest.mark.parametrize("notebook", RUN, ids=lambda notebook: notebook.stem)
def test_every_picture_that_a_chapter_promises_is_on_its_page(notebook):
    parser = Tags()
    page = HTML / "notebooks" / notebook.relative_to(BUILD).with_suffix(".html")
    parser.feed(page.read_text(encoding="utf-8"))
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if promises_picture(cell)]
    promised = [cell.metadata.mystnb.image.alt for cell in cells]
    shown = [attributes.get("alt") for tag, attributes in parser.found if tag == "img"]
    assert [alt for alt in shown if alt in promised] == promised


def test_pages_stay_small():
    for page in PAGES:
        pictures = set(re.findall(r'src="([^"]*_images/[^"]+)"', page.read_text(encoding="utf-8")))
        size = page.stat().st_size + sum((page.parent / picture).stat().st_size for picture in pictures)
        assert size < 2_000_000, f"{page.name} has {size:,} bytes"


def test_the_colab_button_opens_the_published_notebook():
    page = (HTML / "notebooks/vae/variational_autoencoder.html").read_text(encoding="utf-8")
    assert re.search(r"colab\.research\.google\.com/github/[^\"]+/blob/notebooks/notebooks/vae/\w+\.ipynb", page)


def test_the_injected_parameters_are_not_shown():
    for page in PAGES:
        assert "injected-parameters" not in page.read_text(encoding="utf-8")


def test_every_page_loads_the_script_for_the_keyboard(tags):
    scripts = [attributes.get("src") or "" for tag, attributes in tags if tag == "script"]
    assert any(re.search(r"_static/keyboard\.js", script) for script in scripts)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize(("width", "scrolls"), [(1280, False), (500, True)])
def test_code_fits_a_laptop_and_is_in_reach_of_the_keyboard_where_it_scrolls(width, scrolls, tmp_path):
    page = HTML.resolve() / "notebooks/vae/variational_autoencoder.html"
    options = "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", f"--window-size={width},900"
    call = [str(CHROMIUM), *options, "--virtual-time-budget=5000", "--dump-dom", page.as_uri()]
    parser = Tags()
    parser.feed(subprocess.run(call, text=True, capture_output=True, check=True, timeout=100).stdout)
    scrolling = [attributes for tag, attributes in parser.found if tag == "pre" and "data-scrolls" in attributes]
    assert bool(scrolling) == scrolls
    assert all(attributes.get("tabindex") == "0" and attributes.get("aria-label") for attributes in scrolling)
