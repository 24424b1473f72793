"""The bibliography is whole: every paper that the book or the code links to is in it, and none that nobody uses."""

import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
BIBLIOGRAPHY = ROOT / "book" / "references.bib"
# A link ends at white space or at what closes it in Markdown; a full stop or comma after it belongs to the sentence.
# Brackets inside it come in pairs, as in the DOIs of one publisher.
LINK = re.compile(r"https?://(?:dx\.)?(arxiv\.org|doi\.org)/((?:\([^\s()]*\)|[^\s()>\]\"'`}])+)")


def read_bibliography(text: str) -> list[tuple[str, str, dict[str, str]]]:
    """Return (kind, key, fields) of every entry, braces around a field's value taken off."""
    entries = []
    for entry in re.split(r"^@", text, flags=re.MULTILINE)[1:]:
        head = re.match(r"(\w+)\{([^,\s]+),", entry)
        assert head, f"unreadable entry: {entry[:60]!r}"
        fields = dict(re.findall(r"^\s+(\w+)\s*=\s*\{(.*)\},$", entry, flags=re.MULTILINE))
        entries.append((head[1], head[2], fields))
    return entries


def papers(text: str) -> set[str]:
    """Return the papers that a text links to, as `arxiv:…` without version or as `doi:…` in lower case."""
    found = set()
    for host, rest in LINK.findall(text):
        rest = unquote(rest.rstrip(".,;:"))
        if host == "doi.org":
            found.add(f"doi:{rest.lower()}")
        else:
            identifier = rest.removeprefix("abs/").removeprefix("pdf/").removesuffix(".pdf")
            found.add(f"arxiv:{re.sub(r'v[0-9]+$', '', identifier)}")
    return found


ENTRIES = read_bibliography(BIBLIOGRAPHY.read_text(encoding="utf-8"))


def sources() -> list[Path]:
    code = [
        path
        for folder in ("notebooks", "aigc_course", "tools", "benchmarks")
        for path in ROOT.glob(f"{folder}/**/*.py")
    ]
    return sorted([*code, *ROOT.glob("book/*.md"), ROOT / "README.md"])


def identifiers(fields: dict[str, str]) -> set[str]:
    found = papers(fields.get("url", ""))
    if "doi" in fields:
        found.add(f"doi:{fields['doi'].lower()}")
    if "eprint" in fields:
        found.add(f"arxiv:{fields['eprint']}")
    return found


def known() -> set[str]:
    found = set()
    for _, _, fields in ENTRIES:
        found |= identifiers(fields)
    return found


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_linked_paper_is_in_the_bibliography(path: Path) -> None:
    missing = papers(path.read_text(encoding="utf-8")) - known()
    assert not missing, f"{path.relative_to(ROOT)} links to what references.bib lacks: {', '.join(sorted(missing))}"


@pytest.mark.parametrize(("kind", "key", "fields"), ENTRIES, ids=[key for _, key, _ in ENTRIES])
def test_entry_is_complete(kind: str, key: str, fields: dict[str, str]) -> None:
    for name in ("author", "title", "year"):
        assert fields.get(name), f"{key} has no {name}"
    assert re.fullmatch(r"(19|20)\d\d", fields["year"])
    where = [fields.get(name) for name in ("url", "doi", "eprint")]
    in_print = kind in ("book", "incollection") and fields.get("publisher")
    assert any(where) or in_print, f"{key} has no url, doi or eprint"
    if "eprint" in fields:
        assert re.fullmatch(r"\d{4}\.\d{4,5}", fields["eprint"]), f"{key}: eprint takes the bare arXiv number"
    if "doi" in fields:
        assert fields["doi"].startswith("10."), f"{key}: doi takes the bare identifier"


def test_every_entry_is_used() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources())
    linked = papers(text)
    unused = []
    for _, key, fields in ENTRIES:
        # What stands in print only cannot be linked to; its author is named.
        names = [fields["url"]] if "url" in fields else [fields["author"].split(",")[0]]
        here = identifiers(fields)
        if not (here & linked if here else any(name in text for name in names)):
            unused.append(key)
    assert not unused, f"nothing links to {', '.join(unused)}"


def test_no_key_and_no_paper_twice() -> None:
    keys = Counter(key for _, key, _ in ENTRIES)
    links = Counter(paper for _, _, fields in ENTRIES for paper in identifiers(fields))
    titles = Counter(fields["title"].lower() for _, _, fields in ENTRIES)
    assert [name for counter in (keys, links, titles) for name, count in counter.items() if count > 1] == []


def test_links_are_found_where_they_stand() -> None:
    text = """[a](https://arxiv.org/abs/1312.6114), (https://arxiv.org/abs/1401.4082v3). See https://arxiv.org/pdf/1509.00519.pdf,
    and <https://doi.org/10.1109/TIP.2003.819861>; also https://doi.org/10.1111/j.2517-6161.1977.tb01600.x.
    (Dowson and Landau, 1982, https://doi.org/10.1016/0047-259X(82)90077-X), https://doi.org/10.1016/0047-259X%2882%2990077-X"""
    assert papers(text) == {
        "arxiv:1312.6114",
        "arxiv:1401.4082",
        "arxiv:1509.00519",
        "doi:10.1109/tip.2003.819861",
        "doi:10.1111/j.2517-6161.1977.tb01600.x",
        "doi:10.1016/0047-259x(82)90077-x",
    }
