"""The bibliography is whole, and every paper that the book links to is in it."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIBLIOGRAPHY = ROOT / "book" / "references.bib"
# A link ends at white space or at what closes it in Markdown; a full stop or comma after it belongs to the sentence.
LINK = re.compile(r"https?://(?:dx\.)?(arxiv\.org|doi\.org)/([^\s)>\]\"'`}]+)")


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
        rest = rest.rstrip(".,;:")
        if host == "doi.org":
            found.add(f"doi:{rest.lower()}")
        else:
            identifier = rest.removeprefix("abs/").removeprefix("pdf/").removesuffix(".pdf")
            found.add(f"arxiv:{re.sub(r'v[0-9]+$', '', identifier)}")
    return found


ENTRIES = read_bibliography(BIBLIOGRAPHY.read_text(encoding="utf-8"))


def sources() -> list[Path]:
    return sorted([*ROOT.glob("notebooks/**/*.py"), *ROOT.glob("book/**/*.md")])


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
    assert any(where) or (kind == "book" and fields.get("publisher")), f"{key} has no url, doi or eprint"
    if "eprint" in fields:
        assert re.fullmatch(r"\d{4}\.\d{4,5}", fields["eprint"]), f"{key}: eprint takes the bare arXiv number"
    if "doi" in fields:
        assert fields["doi"].startswith("10."), f"{key}: doi takes the bare identifier"


def test_no_key_and_no_paper_twice() -> None:
    keys = Counter(key for _, key, _ in ENTRIES)
    links = Counter(paper for _, _, fields in ENTRIES for paper in identifiers(fields))
    titles = Counter(fields["title"].lower() for _, _, fields in ENTRIES)
    assert [name for counter in (keys, links, titles) for name, count in counter.items() if count > 1] == []


def test_links_are_found_where_they_stand() -> None:
    text = """[a](https://arxiv.org/abs/1312.6114), (https://arxiv.org/abs/1401.4082v3). See https://arxiv.org/pdf/1509.00519.pdf,
    and <https://doi.org/10.1109/TIP.2003.819861>; also https://doi.org/10.1111/j.2517-6161.1977.tb01600.x."""
    assert papers(text) == {
        "arxiv:1312.6114",
        "arxiv:1401.4082",
        "arxiv:1509.00519",
        "doi:10.1109/tip.2003.819861",
        "doi:10.1111/j.2517-6161.1977.tb01600.x",
    }
