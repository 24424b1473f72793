"""Texts: Python's own documentation and folk tunes that need no network, and two more for those who have one."""

import codecs
import hashlib
import importlib.util
import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from aigc_course.checks import importing_extra
from aigc_course.data.files import SPLITS, RemoteFile, fetch, is_hidden, say_passed_over

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


# How files begin that are not plain text, though some end in .txt: PDF, RTF, ZIP, .doc, gzip.
_NO_TEXT = (b"%PDF-", b"{\\rtf", b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"\x1f\x8b")

# What a folder's texts end in; a file that is given by itself may end in anything.
TEXT_ENDINGS = (".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".org", ".abc")


def load_text(name: str | Path = "python_docs", split: str = "train", *, encoding: str = "utf-8") -> str:
    """Return one split of a text.

    | name | text | characters (about) | needs a network |
    | --- | --- | --- | --- |
    | `python_docs` | the language reference that `help()` shows, in ASCII | 370,000 | no: ships with Python |
    | `folk_tunes` | melodies of the Essen collection in ABC notation, in ASCII | 1,700,000 | no: the extra `music` |
    | `shakespeare` | scenes from the plays | 1,115,394 | at the first call |
    | `tang_poems` | 5,000 poems of the Complete Tang Poems, in Chinese | 340,000 | at the first call |
    | a path | your own file, or a folder of them; a tenth is held out | | no |

    **Splits.** The unit is a section of the documentation, a tune or a poem, drawn by a fixed seed, so that no unit is
    cut; no paragraph, tune or poem comes twice. Shakespeare and files of your own are cut in order: the first 90 % to
    train on, then 5 % for validation and 5 % for the test (nanoGPT's validation data are the last two together).
    `python_docs` grows with Python's version.

    **Your own text** is plain text in the given `encoding`. Its path is a `pathlib.Path`, or a string that is none of
    the names above. Of a folder and the folders in it, all files are read whose names end in `.txt`, `.text`, `.md`,
    `.markdown`, `.rst`, `.tex`, `.org` or `.abc` and do not begin with a dot; they are joined by blank lines in the
    order of their paths, and files without text or with the same text as another are left out. With ten files or more
    no file is cut: one in twenty, but at least one, is drawn for validation and as many for the test, never one that
    holds more than a quarter of the text. Of fewer files each is cut in order. Every line ends with a line feed alone,
    and byte order marks are left out.

    Sources: the Python Software Foundation's documentation; H. Schaffrath's Essen folk song collection, ABC by
    S. Shlien; Karpathy (2015), https://github.com/karpathy/char-rnn; https://github.com/chinese-poetry/chinese-poetry.

    A `UserWarning` says which other files of a folder are not read.

    Raises `ValueError` for an unknown name, split or encoding, for a file that is not text in this encoding (UTF-8 with
    letters beyond ASCII is none in an encoding of one byte per character) or too short for three splits, and for a
    folder without texts; `FileNotFoundError` for a path that is not there;
    `RuntimeError` for a download that is broken or cannot be had; `ModuleNotFoundError` for `folk_tunes` if the
    package's extra `music` is not installed.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; it takes one of {', '.join(map(repr, SPLITS))}.")
    return load_splits(name, encoding=encoding)[split]


def load_splits(name: str | Path = "python_docs", *, encoding: str = "utf-8") -> dict[str, str]:
    """Return all three splits of a text by their names; the source is read once. Raises as `load_text` does."""
    if isinstance(name, Path):
        return _own_splits(name, encoding)
    if isinstance(name, str) and ("\n" in name or len(name) > 1_000):
        raise ValueError(
            f"text is {name[:30]!r} … with {len(name):,} characters; it takes a text's name or path, not the text "
            "itself. Write it to a file: Path('mine.txt').write_text(text, encoding='utf-8')."
        )
    if not isinstance(name, str) or name not in HELD_OUT:
        if isinstance(name, str) and name and (Path(name).exists() or "/" in name or os.sep in name):
            return _own_splits(Path(name), encoding)
        raise ValueError(
            f"text {name!r} is unknown; there are {', '.join(map(repr, HELD_OUT))}, or the path of your own file or "
            f"folder, and nothing of this name is in {Path.cwd()}."
        )
    if encoding != "utf-8":
        raise ValueError(f"encoding is {encoding!r}, and {name!r} is a text of the course; only a path takes it.")
    if name == "shakespeare":
        return _cut(fetch(SHAKESPEARE_FILE).read_text(encoding="utf-8"))
    units: Callable[[], Iterable[str]] = {"python_docs": _sections, "folk_tunes": _tunes, "tang_poems": _poems}[name]
    drawn = _drawn(list(dict.fromkeys(units())), HELD_OUT[name])
    return {split: "\n\n".join(drawn[split]) + "\n" for split in SPLITS}


def text_digest(name: str) -> str:
    """Return the SHA-256 of a text's splits: what a model has to be stored under if its text may change."""
    return hashlib.sha256("".join(load_splits(name).values()).encode()).hexdigest()


# --- files of your own ------------------------------------------------------------------------------------------------


def _own_splits(path: Path, encoding: str) -> dict[str, str]:
    try:
        "a".encode(encoding)
    except (LookupError, TypeError) as error:
        raise ValueError(
            f"encoding is {encoding!r}, and Python knows no such encoding of texts; "
            "it takes 'utf-8', 'utf-16', 'latin-1', 'gb18030' or another of Python's names."
        ) from error
    path = path.expanduser()
    if path.is_dir():
        texts = _read_folder(path, encoding)
        units = _whole_files(texts) if len(texts) >= 10 else [_cut(text) for text in texts]
        splits = {split: "\n\n".join(filter(None, (unit[split] for unit in units))) for split in SPLITS}
    else:
        texts = [_read(path, encoding)]
        splits = _cut(texts[0])
    size = sum(map(len, texts))
    if not any(text.strip() for text in texts):
        raise ValueError(
            f"{path} holds no text but {size} characters of white space; "
            "give a file with at least a few thousand characters."
        )
    if empty := [split for split in SPLITS if not splits[split]]:
        raise ValueError(
            f"{path} has {size} characters, and the {empty[0]} split, a twentieth of them, would be empty; "
            "give a text with at least a few thousand."
        )
    return splits


def _read_folder(folder: Path, encoding: str) -> list[str]:
    """The different texts of a folder that are not blank, in the order of their paths on every machine."""
    below = (file.relative_to(folder) for file in folder.rglob("*") if not file.is_dir())
    # What systems keep beside the files often has the same endings.
    found = [file for file in below if not any(map(is_hidden, file.parts))]
    files = sorted(file.as_posix() for file in found if file.suffix.lower() in TEXT_ENDINGS)
    if not files:
        raise ValueError(
            f"the folder {folder} has no texts: no file in it ends in {', '.join(TEXT_ENDINGS)}. "
            "Save each text there as plain text, or give the path of one file."
        )
    texts = dict.fromkeys(_read(folder / file, encoding).strip("\n") for file in files)
    others = [file for file in found if file.suffix.lower() not in TEXT_ENDINGS]
    say_passed_over(folder, others, f"{len(files)} {'texts' if len(files) > 1 else 'text'}")
    return [text for text in texts if text.strip()]


def _read(file: Path, encoding: str) -> str:
    """The text of a file with line feeds at the ends of its lines, and without byte order marks."""
    data = file.read_bytes()
    if data.startswith(_NO_TEXT):
        raise ValueError(
            f"{file} is a PDF, RTF or ZIP file (.docx, .odt and .epub are ZIP files), a .doc or a .gz, and not plain "
            "text. Save its text as a .txt file in UTF-8."
        )
    try:
        text = data.decode(encoding)
        problem = "it holds zero bytes, as pictures and programs do" if "\0" in text else ""
    except UnicodeError as error:
        problem = str(error)
    if problem:
        marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        raise ValueError(
            f"{file} cannot be read as a text in {encoding}: {problem}. "
            + ("Its first bytes say that it is in UTF-16; give encoding='utf-16'." if marked else "")
            + ("" if marked else "If it is a text, give its encoding, such as encoding='latin-1' or 'utf-16-le'.")
        )
    # One character for each byte, though some bytes are parts of a letter: hardly any other text looks like UTF-8.
    if len(text) == len(data) and not data.isascii() and _is_utf8(data):
        letter = next(letter for letter in data.decode("utf-8") if not letter.isascii())
        raise ValueError(
            f"{file} is a text in UTF-8: {encoding} would turn its {letter!r} into "
            f"{letter.encode('utf-8').decode(encoding)!r}. All files of a folder are read in one encoding; leave it "
            "out, and save files of another one as UTF-8."
        )
    # The mark is at the start of every file, and where files were joined it is in the middle.
    return text.replace("\ufeff", "").replace("\r\n", "\n").replace("\r", "\n")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _cut(text: str) -> dict[str, str]:
    first, second = int(0.9 * len(text)), int(0.95 * len(text))
    return {"train": text[:first], "validation": text[first:second], "test": text[second:]}


def _whole_files(texts: list[str]) -> list[dict[str, str]]:
    """Each file whole in one split: one in twenty, at least one, is for validation, and as many for the test."""
    # At most three files hold more than a quarter each, so that seven of ten can be drawn.
    quarter = sum(map(len, texts)) / 4
    drawn = np.random.default_rng(0).permutation([i for i, text in enumerate(texts) if len(text) <= quarter])
    held_out = max(1, len(texts) // 20)
    part = dict.fromkeys(drawn[:held_out].tolist(), "test")
    part |= dict.fromkeys(drawn[held_out : 2 * held_out].tolist(), "validation")
    return [{**dict.fromkeys(SPLITS, ""), part.get(i, "train"): text} for i, text in enumerate(texts)]


# --- texts of the course ----------------------------------------------------------------------------------------------


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
