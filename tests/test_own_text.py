"""Texts of one's own: files and folders as people have them, long ones, and what is no text."""

import gzip
import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aigc_course.data import BytePairTokenizer, CharTokenizer, TextData, load_text
from aigc_course.data.text import load_splits
from aigc_course.data.tokens import _pieces, read_tokens
from aigc_course.recurrent import StreamData

# Beside its texts the folder of these tests holds a picture and a PDF.
pytestmark = pytest.mark.filterwarnings("ignore:.* files that are not read")

SPLITS = ("train", "validation", "test")
WORDS = "Überall 山水 naïve cafés, don't 12 😀 tied:\n  indented\n\nlast "


def whole(path: Path | str, **options: Any) -> str:
    return "".join(load_splits(path, **options).values())


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "gb18030"])
def test_a_file_is_read_in_its_encoding_and_its_mark_is_no_token(tmp_path: Path, encoding: str) -> None:
    text = WORDS * 30
    (tmp_path / "own.txt").write_bytes(text.encode(encoding))
    assert whole(tmp_path / "own.txt", encoding=encoding) == text
    for data in (
        TextData(tmp_path / "own.txt", context=4, batch_size=2, encoding=encoding),
        StreamData(tmp_path / "own.txt", batch_size=2, chunk=4, encoding=encoding),
    ):
        assert "".join(data.tokenizer.decode(data.tokens[split]) for split in SPLITS) == text
        assert data.tokenizer.vocab_size == len(set(text))


def test_a_mark_is_left_out_without_a_word_about_the_encoding(tmp_path: Path) -> None:
    part = (WORDS * 10).encode("utf-8-sig")
    (tmp_path / "joined.txt").write_bytes(part + part)
    assert whole(tmp_path / "joined.txt") == WORDS * 20


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_lines_end_in_one_way(tmp_path: Path, end: str) -> None:
    (tmp_path / "own.txt").write_bytes((WORDS * 10).replace("\n", end).encode())
    assert whole(tmp_path / "own.txt") == WORDS * 10


def test_a_string_may_be_a_path_and_a_name_stays_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("notes.txt", "sub/notes.txt", "python_docs"):
        Path(file).parent.mkdir(exist_ok=True)
        Path(file).write_text("mine, " * 40, encoding="utf-8")
    for path in ("notes.txt", "./notes.txt", "sub/notes.txt", str(tmp_path / "notes.txt"), Path("python_docs")):
        assert whole(path) == "mine, " * 40
    assert "mine, mine" not in whole("python_docs")


def test_your_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "notes.txt").write_text("mine, " * 40, encoding="utf-8")
    assert whole("~/notes.txt") == whole(Path("~/notes.txt")) == "mine, " * 40


# --- folders ----------------------------------------------------------------------------------------------------------


def folder(path: Path, count: int) -> list[str]:
    """Write texts that no other holds into nested folders, and beside them what is to be left out."""
    texts = [f"text {number:03d}: " + f"word{number} " * 30 for number in range(count)]
    for number, text in enumerate(texts):
        file = path / f"{'ab'[number % 2]}" / f"{number:03d}.{('txt', 'MD', 'rst')[number % 3]}"
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(f"{text}\n", encoding="utf-8")
    for name in (".hidden.txt", ".git/note.txt", "__MACOSX/a/._000.txt", "a/picture.png", "a/paper.pdf"):
        file = path / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_bytes(b"\x00\xff not a text")
    (path / "a" / "empty.txt").write_text(" \n\n", encoding="utf-8")
    (path / "b" / "copy.txt").write_text(texts[0], encoding="utf-8")
    return [text for half in (texts[::2], texts[1::2]) for text in half]


@pytest.mark.parametrize("count", [10, 45])
def test_of_many_files_none_is_cut(tmp_path: Path, count: int) -> None:
    texts = folder(tmp_path, count)
    parts = {split: load_text(tmp_path, split).split("\n\n") for split in SPLITS}
    assert sorted(text for part in parts.values() for text in part) == sorted(texts)
    assert [len(parts[split]) for split in SPLITS] == {10: [8, 1, 1], 45: [41, 2, 2]}[count]
    assert parts["train"] == [text for text in texts if text in parts["train"]], "in the order of the paths"


def test_the_split_does_not_hang_on_the_order_in_which_a_folder_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path, 20)
    expected, listed = load_splits(tmp_path), Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda *arguments: reversed(list(listed(*arguments))))
    assert load_splits(tmp_path) == expected


def test_a_file_that_is_most_of_a_folder_is_for_training(tmp_path: Path) -> None:
    for large in range(12):
        path = tmp_path / str(large)
        folder(path, 12)
        file = next(path.rglob(f"{large:03d}.*"))
        file.write_text("large " * 5_000, encoding="utf-8")
        assert "large large" in load_text(path, "train")


def test_of_few_files_each_is_cut(tmp_path: Path) -> None:
    texts = folder(tmp_path, 3)
    parts = {split: load_text(tmp_path, split).split("\n\n") for split in SPLITS}
    assert ["".join(pieces) for pieces in zip(*parts.values(), strict=True)] == texts
    assert all(0.89 < len(parts["train"][i]) / len(texts[i]) < 0.91 for i in range(3))


def test_what_a_folder_holds_beside_texts_is_named(tmp_path: Path) -> None:
    (tmp_path / "README.txt").write_text("read me, " * 40, encoding="utf-8")
    (tmp_path / "folder.txt").mkdir()
    for number in range(30):
        (tmp_path / f"{number}.docx").write_bytes(b"PK\x03\x04")
        (tmp_path / "folder.txt" / f"{number}.PDF").write_bytes(b"%PDF-1.7")
    with pytest.warns(UserWarning, match=r"has 1 text, and .* not read: 30 in \.docx, 30 in \.pdf\."):
        assert whole(tmp_path) == "read me, " * 40


def test_a_folder_trains(tmp_path: Path) -> None:
    folder(tmp_path, 12)
    x, y = next(iter(TextData(str(tmp_path), context=8, batch_size=4, tokenizer=300).train_dataloader()))
    assert x.shape == y.shape == (4, 8)


# --- tokens of long texts ---------------------------------------------------------------------------------------------

# Where words, spaces and marks meet, and where the library's rules look ahead: white space before a word, 's and 'll.
_PARTS = ["word", "Wort", "'s", "'ll", "'", " ", "  ", "\n", "\n \n", "\t", "12", "!?", "山水", "，", "😀", "é"]
_PARTS += ["e\u0301", "\u00a0", "\x1c"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(_PARTS), min_size=1, max_size=120).map("".join))
@example(" " * 50 + "a" * 50)
def test_pieces_have_the_tokens_of_the_whole(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aigc_course.data.tokens._PIECE", 7)
        assert "".join(_pieces(text)) == text
        by_pieces = BytePairTokenizer(text, 280)
        rows = by_pieces.encode(text)
    at_once = BytePairTokenizer(text, 280)
    assert by_pieces._library.to_str() == at_once._library.to_str()
    assert rows.tolist() == at_once._library.encode(text).ids


@pytest.mark.parametrize("words", [1, 3])
def test_a_text_without_spaces_takes_no_time(words: int) -> None:
    letters = np.random.default_rng(0).choice([*"ACGT"], 300_000)
    text = " ".join(map("".join, np.array_split(letters, words)))
    assert "".join(_pieces(text)) == text
    assert max(map(len, _pieces(text))) <= 18_000
    tokenizer = BytePairTokenizer(text, 300)  # took minutes: the library's time grows with the square of a word
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_only_words_without_end_are_cut() -> None:
    text = ("a" * 1_990 + " b ") * 20 + "c" * 9_000 + (" d" + "e" * 100) * 500
    tokenizer = BytePairTokenizer(text[:50_000], 300)
    pieces = list(_pieces(text))
    assert "".join(pieces) == text
    cut = [left for left, right in itertools.pairwise(pieces) if not right.startswith(" ")]
    assert all(set(left) == {"c"} or left.endswith("c") for left in cut)
    assert len(cut) <= 3
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_there_are_pieces_and_they_are_short() -> None:
    text = load_text()
    pieces = list(_pieces(text))
    assert "".join(pieces) == text
    assert len(pieces) > 15
    assert max(map(len, pieces)) < 16_100


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([*_PARTS, "👩🏽‍🚀", "🇩🇪", "\u0000", "\U0010ffff", "ﷺ"]), min_size=1).map("".join))
def test_all_writing_comes_back(text: str) -> None:
    for tokenizer in (BytePairTokenizer("learned elsewhere", 260), CharTokenizer(text)):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_no_text_has_no_tokens() -> None:
    for tokenizer in (BytePairTokenizer("abc", 256), CharTokenizer("abc")):
        assert tokenizer.encode("").tolist() == []


def test_characters_take_little_memory(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("some words, " * 50_000, encoding="utf-8")
    tracemalloc.start()
    try:
        read_tokens(tmp_path / "long.txt", None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A list of Python's numbers would be 8 bytes for each character, beside the text, its splits and its code points.
    assert peak < 600_000 * 13


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (
            "größer ".encode("latin-1") * 50,
            "utf-8",
            r"own\.txt cannot be read as a text in utf-8: .* encoding='latin-1'",
        ),
        (("größer " * 50).encode("utf-16"), "utf-8", r"own\.txt .*it is in UTF-16; give encoding='utf-16'"),
        (("größer " * 50).encode("utf-16"), "latin-1", r"own\.txt .*it is in UTF-16; give encoding='utf-16'"),
        (("greater " * 50).encode("utf-16-le"), "utf-8", r"own\.txt .* zero bytes.*'utf-16-le'"),
        (b"\x89PNG\r\n\x1a\n\0\0" * 50, "latin-1", r"own\.txt .* zero bytes, as pictures"),
        (b"%PDF-1.7 obj " * 50, "utf-8", r"own\.txt is a PDF, RTF or ZIP file .*\.docx.* not plain text"),
        (b"PK\x03\x04 word/document.xml" * 50, "latin-1", r"own\.txt is a PDF, RTF or ZIP file"),
        (b"{\\rtf1 text" * 50, "utf-8", r"own\.txt is a PDF, RTF or ZIP file"),
        (bytes.fromhex("D0CF11E0A1B11AE1") * 50, "latin-1", r"own\.txt is a PDF, .* a \.doc or a \.gz"),
        (gzip.compress(b"text " * 50, mtime=0), "latin-1", r"own\.txt is a PDF, .* a \.doc or a \.gz"),
        (b"text " * 50, "utf-88", "encoding is 'utf-88', and Python knows no such encoding"),
        (b"text " * 50, "rot13", "encoding is 'rot13', and Python knows no such encoding"),
        (b"text " * 50, None, "encoding is None, and Python knows no such encoding"),
        (b"", "utf-8", r"own\.txt holds no text but 0 characters"),
        (b" \n\t" * 50, "utf-8", r"own\.txt holds no text but \d+ characters of white space"),
        (b"ab", "utf-8", r"own\.txt has 2 characters, and the validation split, a twentieth of them, would be empty"),
    ],
)
def test_what_is_no_text(tmp_path: Path, content: bytes, encoding: Any, message: str) -> None:
    (tmp_path / "own.txt").write_bytes(content)
    for path in (tmp_path / "own.txt", str(tmp_path / "own.txt"), tmp_path):
        with pytest.raises(ValueError, match=message.replace(r"own\.txt", r"own\.txt" if path != tmp_path else ".*")):
            TextData(path, context=4, batch_size=2, encoding=encoding)


@pytest.mark.bad_input
def test_utf_8_is_not_read_in_an_encoding_of_one_byte(tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("Crème brûlée. " * 50, encoding="utf-8")
    (tmp_path / "old.txt").write_bytes(("Ärger " * 50).encode("latin-1"))
    with pytest.raises(ValueError, match=r"old\.txt cannot be read as a text in utf-8"):
        load_text(tmp_path)
    for encoding in ("latin-1", "cp1252"):
        assert "Ärger" in load_text(tmp_path / "old.txt", encoding=encoding)
        with pytest.raises(ValueError, match=rf"new\.txt is a text in UTF-8: {encoding} would turn its 'è' into 'Ã¨'"):
            load_text(tmp_path, encoding=encoding)
    (tmp_path / "new.txt").write_text("in ASCII " * 50, encoding="utf-8")
    assert "Ärger" in load_text(tmp_path, encoding="latin-1")


@pytest.mark.bad_input
@pytest.mark.parametrize("text", ["Once upon a time\nthere was a king.", "Once upon a time / there was a king. " * 50])
def test_a_text_itself_is_no_path(text: str) -> None:
    with pytest.raises(ValueError, match=r"text is 'Once .* … with [\d,]+ characters; it takes .* not the text itself"):
        load_text(text)


@pytest.mark.bad_input
def test_folders_without_texts(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\0")
    with pytest.raises(ValueError, match=r"the folder .* has no texts: no file in it ends in \.txt, "):
        load_text(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"missing"):
        load_text(str(tmp_path / "missing"))


@pytest.mark.bad_input
@pytest.mark.parametrize("name", ["notes.txt", "", None, 3, ["a.txt", "b.txt"]])
def test_names_that_are_neither_texts_nor_paths(name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=r"text .* is unknown; there are 'python_docs', .* or the path of your own file"
    ):
        load_text(name)


@pytest.mark.bad_input
def test_the_encoding_of_a_text_of_the_course() -> None:
    with pytest.raises(ValueError, match="encoding is 'latin-1', and 'python_docs' is a text of the course"):
        load_text(encoding="latin-1")


@pytest.mark.bad_input
@pytest.mark.parametrize("value", [2.5, "64", True, None])
def test_numbers_of_other_types(value: Any) -> None:
    for name in ("context", "batch_size", *(["limit"] if value is not None else [])):
        with pytest.raises(ValueError, match=f"{name} is {value!r}; it takes a whole number"):
            TextData(**{"context": 8, "batch_size": 4, name: value})


@pytest.mark.bad_input
def test_tokenizers_that_are_none() -> None:
    for value in ("300", 300.0):
        with pytest.raises(ValueError, match=f"tokenizer is {value!r}; it takes a tokenizer"):
            read_tokens("python_docs", value)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="vocab_size is 1; it takes a whole number ≥ 256"):
        read_tokens("python_docs", True)


@pytest.mark.bad_input
def test_a_text_shorter_than_a_window(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("0123456789" * 20, encoding="utf-8")
    with pytest.raises(ValueError, match=r"the validation split has 10 tokens; .* they take 65"):
        TextData(tmp_path / "own.txt", context=64, batch_size=2)
