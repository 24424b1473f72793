"""Texts: Python's own documentation and folk tunes that need no network, and two more for those who have one."""

import hashlib
import importlib.util
import json
import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from aigc_course.checks import importing_extra
from aigc_course.data.files import SPLITS, RemoteFile, fetch

SHAKESPEARE_FILE = RemoteFile(
    "tinyshakespeare.txt",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",),
)
_TANG = (
    "https://raw.githubusercontent.com/chinese-poetry/chinese-poetry/"
    "99ebbef7e1345c0985c44b9fd96a3f9e776f117b/%E5%85%A8%E5%94%90%E8%AF%97/poet.tang."
)
TANG_FILES = tuple(
    RemoteFile(f"poet.tang.{first}.json", sha256, (f"{_TANG}{first}.json",))
    for first, sha256 in (
        (0, "4f88f429938082523cdc72a1612bd7a7c3e3f7a33f8192c61ae51340efc3c92d"),
        (1000, "6e703b8d8dcedbd6110f6d48d043665ca2131db2035a5bfcef5e59a19aeb6d75"),
        (2000, "ec28efa7e2ae9cdbbba09f0ed186e32ccae47a325ad1e5816b7ad56071c1665a"),
        (3000, "9e4ba2323752b6b9fbdba875cdbc6a26636fe0cabc85fd066370d4915952001f"),
        (4000, "b8a7946c879b9658a6c667a4c55f776fae7e5e00a17789ab06b274c1429afc66"),
    )
)

# The share of a text, by characters, that is held out for validation and again for the test.
HELD_OUT = {"python_docs": 0.08, "folk_tunes": 0.05, "shakespeare": 0.05, "tang_poems": 0.05}


def load_text(name: str | Path = "python_docs", split: str = "train") -> str:
    """Return one split of a text.

    | name | text | characters (about) | needs a network |
    | --- | --- | --- | --- |
    | `python_docs` | the language reference that `help()` shows, in ASCII | 370,000 | no: ships with Python |
    | `folk_tunes` | melodies of the Essen collection in ABC notation, in ASCII | 1,700,000 | no: the extra `music` |
    | `shakespeare` | scenes from the plays | 1,115,394 | at the first call |
    | `tang_poems` | 5,000 poems of the Complete Tang Poems, in Chinese | 340,000 | at the first call |
    | a `pathlib.Path` | your own file in UTF-8; its last tenth is held out | | no |

    **Splits.** The unit is a section of the documentation, a tune or a poem, drawn by a fixed seed, so that no unit is
    cut; no paragraph, tune or poem comes twice. Shakespeare and files of your own are cut in order: the first 90 % to
    train on, then 5 % for validation and 5 % for the test (nanoGPT's validation data are the last two together).
    `python_docs` grows with Python's version.

    Sources: the Python Software Foundation's documentation; H. Schaffrath's Essen folk song collection, ABC by
    S. Shlien; Karpathy (2015), https://github.com/karpathy/char-rnn; https://github.com/chinese-poetry/chinese-poetry.

    Raises `ValueError` for an unknown name or split or a file without text, `FileNotFoundError` for a file that is not
    there, `RuntimeError` for a download that is broken or cannot be had, and `ModuleNotFoundError` for `folk_tunes` if
    the package's extra `music` is not installed.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; it takes one of {', '.join(map(repr, SPLITS))}.")
    return load_splits(name)[split]


def load_splits(name: str | Path = "python_docs") -> dict[str, str]:
    """Return all three splits of a text by their names; the source is read once. Raises as `load_text` does."""
    if isinstance(name, Path):
        return _cut(name.read_text(encoding="utf-8"), str(name))
    if name not in HELD_OUT:
        raise ValueError(
            f"text {name!r} is unknown; there are {', '.join(map(repr, HELD_OUT))}, or a pathlib.Path to a file."
        )
    if name == "shakespeare":
        return _cut(fetch(SHAKESPEARE_FILE).read_text(encoding="utf-8"), name)
    units: Callable[[], Iterable[str]] = {"python_docs": _sections, "folk_tunes": _tunes, "tang_poems": _poems}[name]
    drawn = _drawn(list(dict.fromkeys(units())), HELD_OUT[name])
    return {split: "\n\n".join(drawn[split]) + "\n" for split in SPLITS}


def text_digest(name: str) -> str:
    """Return the SHA-256 of a text's splits: what a model has to be stored under if its text may change."""
    return hashlib.sha256("".join(load_splits(name).values()).encode()).hexdigest()


def _cut(text: str, name: str) -> dict[str, str]:
    if not text.strip():
        raise ValueError(f"{name} holds no text; give a file with at least a few thousand characters.")
    first, second = int(0.9 * len(text)), int(0.95 * len(text))
    return {"train": text[:first], "validation": text[first:second], "test": text[second:]}


def _drawn(units: list[str], share: float) -> dict[str, list[str]]:
    """The units of each split, in their old order; held-out splits are filled up to their share of the characters."""
    wanted = share * sum(map(len, units))
    chosen: dict[str, list[int]] = {"test": [], "validation": [], "train": []}
    sizes = dict.fromkeys(chosen, 0)
    for number in np.random.default_rng(0).permutation(len(units)):
        size = len(units[number])
        # A unit that is larger than a third of a held-out split would make it a text about one thing.
        fits = [part for part in ("test", "validation") if sizes[part] + size <= wanted and size <= wanted / 3]
        part = fits[0] if fits else "train"
        sizes[part] += size
        chosen[part].append(number)
    return {split: [units[number] for number in sorted(numbers)] for split, numbers in chosen.items()}


_UNDERLINE = re.compile(r"\s*([*=\-~^])\1{2,}\s*")


def _sections() -> Iterable[str]:
    """Sections of the help topics. Topics quote each other, so a paragraph that has come before is left out."""
    from pydoc_data.topics import topics  # half a megabyte that only this text needs

    seen = set()
    for topic in sorted(topics):
        lines = _ascii(topics[topic]).split("\n")
        heads = [i for i in range(len(lines) - 1) if lines[i].strip() and _UNDERLINE.fullmatch(lines[i + 1])]
        for start, end in zip([0, *heads], [*heads, len(lines)], strict=True):
            kept = []
            for paragraph in "\n".join(lines[start:end]).split("\n\n"):
                words = " ".join(paragraph.split())
                if words and words not in seen:
                    seen.add(words)
                    kept.append(paragraph.strip("\n"))
            if kept:
                yield "\n\n".join(kept)


def _tunes() -> Iterable[str]:
    """Tunes with their origin, metre, unit of length and key; titles and numbers are left out."""
    package = importlib.util.find_spec("music21")  # found, not imported: that would take seconds
    with importing_extra("music"):
        if package is None or package.submodule_search_locations is None:
            raise ModuleNotFoundError(name="music21")
    folder = Path(package.submodule_search_locations[0]) / "corpus" / "essenFolksong"
    # What comes after the key is the melody; two tunes with one melody are one tune under two titles.
    melodies = set()
    for file in sorted(folder.glob("*.abc")):
        for tune in _ascii(file.read_text(encoding="latin-1")).split("X:")[1:]:
            header, key, melody = tune.partition("\nK:")
            key_name, _, notes = melody.partition("\n")
            notes = "\n".join(line.strip() for line in notes.split("\n") if line.strip() and line[1:2] != ":")
            if not key or not notes or notes in melodies:
                continue
            melodies.add(notes)
            fields = [line.strip() for line in header.split("\n") if line[:2] in ("O:", "M:", "L:")]
            yield "\n".join([*fields, f"K: {key_name.strip()}", notes])


def _poems() -> Iterable[str]:
    for file in TANG_FILES:
        for poem in json.loads(fetch(file).read_text(encoding="utf-8")):
            if poem["paragraphs"]:
                yield "\n".join(poem["paragraphs"])


_PLAIN = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "ß": "ss"})


def _ascii(text: str) -> str:
    """The text in ASCII: typographic quotes become plain ones, letters lose their accents, what is left goes."""
    return unicodedata.normalize("NFKD", text.translate(_PLAIN)).encode("ascii", "ignore").decode()
