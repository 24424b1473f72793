"""Texts and tokens: splits that share nothing, tokenizers that lose nothing, windows that fit."""

import itertools
import json
import re
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aigc_course.data import BytePairTokenizer, CharTokenizer, TextData, load_text, text
from aigc_course.data.files import RemoteFile

SPLITS = ("train", "validation", "test")


# --- texts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "least"), [("python_docs", 300_000), ("folk_tunes", 1_200_000)])
def test_splits_have_their_sizes_and_share_no_unit(name: str, least: int) -> None:
    parts = {split: load_text(name, split) for split in SPLITS}
    total = sum(map(len, parts.values()))
    assert total > least
    for split in ("validation", "test"):
        assert 0.9 * text.HELD_OUT[name] < len(parts[split]) / total < 1.01 * text.HELD_OUT[name]
        assert parts[split] == load_text(name, split), "drawn anew, the split is the same"
    paragraphs = {split: {p for p in part.split("\n\n") if len(p) > 80} for split, part in parts.items()}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not paragraphs[one] & paragraphs[other]
    characters = set("".join(parts.values()))
    assert all(c == "\n" or c == "\t" or " " <= c <= "~" for c in characters), "ASCII only"


def test_no_paragraph_of_the_documentation_comes_twice() -> None:
    paragraphs = [" ".join(p.split()) for split in SPLITS for p in load_text(split=split).split("\n\n")]
    long = [p for p in paragraphs if len(p) > 80]
    assert len(long) == len(set(long)) > 500


def test_a_tune_has_a_header_and_notes() -> None:
    tunes = load_text("folk_tunes", "test").strip().split("\n\n")
    assert len(tunes) > 300
    for tune in tunes:
        assert re.match(r"(O: .*\n)?(O: .*\n)*(M: .*\n)(L: .*\n)K: ?\S*\n", tune), tune
    melodies = [
        tune.split("\nK:")[1] for split in SPLITS for tune in load_text("folk_tunes", split).strip().split("\n\n")
    ]
    assert len({melody.partition("\n")[2] for melody in melodies}) == len(melodies)


def test_shakespeare_is_cut_as_nanogpt_cuts_it(course_cache: Path) -> None:
    if not (course_cache / "tinyshakespeare.txt").exists():
        pytest.skip("the file is not in the cache, and tests download nothing")
    parts = [load_text("shakespeare", split) for split in SPLITS]
    assert "".join(parts) == (course_cache / "tinyshakespeare.txt").read_text(encoding="utf-8")
    assert [len(part) for part in parts] == [1_003_854, 55_770, 55_770]


def test_poems_are_read_character_by_character(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poems = [{"title": "t", "author": "a", "paragraphs": [f"山{n:04d}水，", "日月。"]} for n in range(100)]
    (tmp_path / "some.json").write_text(json.dumps([*poems, {"paragraphs": []}, poems[0]]), encoding="utf-8")
    monkeypatch.setattr(text, "TANG_FILES", (RemoteFile("some.json", "", ()),))
    monkeypatch.setattr(text, "fetch", lambda file: tmp_path / file.name)
    parts = {split: load_text("tang_poems", split).strip().split("\n\n") for split in SPLITS}
    assert sorted(itertools.chain(*parts.values())) == ["\n".join(poem["paragraphs"]) for poem in poems]
    assert [len(parts[split]) for split in SPLITS] == [90, 5, 5]
    tokenizer = CharTokenizer("".join("\n\n".join(part) for part in parts.values()))
    assert tokenizer.encode("山0042水，").shape == (7,)


def test_your_own_file_is_cut_in_order(tmp_path: Path) -> None:
    file = tmp_path / "own.txt"
    file.write_text("0123456789" * 20, encoding="utf-8")
    assert [len(load_text(file, split)) for split in SPLITS] == [180, 10, 10]
    assert TextData(file, context=4, batch_size=2).tokenizer.vocab_size == 10


# --- tokens -----------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1))
def test_characters_come_back(written: str) -> None:
    tokenizer = CharTokenizer(written)
    tokens = tokenizer.encode(written)
    assert tokenizer.decode(tokens) == written
    assert tokenizer.vocab_size == len(set(written))
    assert sorted(tokens.unique().tolist()) == list(range(tokenizer.vocab_size))


@pytest.fixture(scope="module")
def pairs() -> BytePairTokenizer:
    return BytePairTokenizer(load_text(), 400)


@settings(max_examples=50, deadline=None)
@given(written=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_every_text_comes_back_from_byte_pairs(pairs: BytePairTokenizer, written: str) -> None:
    tokens = pairs.encode(written)
    assert pairs.decode(tokens) == written
    assert len(tokens) <= len(written.encode())
    one_by_one = [pairs.decode_bytes(token) for token in tokens.split(1)]
    assert b"".join(one_by_one) == pairs.decode_bytes(tokens) == written.encode()


def test_byte_pairs_shorten_what_they_were_learned_from(pairs: BytePairTokenizer) -> None:
    held_out = load_text(split="test")
    assert pairs.vocab_size == 400
    assert len(held_out) / len(pairs.encode(held_out)) > 1.4
    again = BytePairTokenizer(load_text(), 400)
    assert torch.equal(again.encode(held_out), pairs.encode(held_out))


def test_every_byte_is_a_token(pairs: BytePairTokenizer) -> None:
    alone = BytePairTokenizer("a", 256)
    assert {alone.decode_bytes(torch.tensor([number])) for number in range(256)} == {bytes([b]) for b in range(256)}
    with pytest.raises(ValueError, match="from 0 to 255"):
        alone.decode_bytes(torch.tensor([256]))


def test_the_first_merge_is_the_most_frequent_pair() -> None:
    tokenizer = BytePairTokenizer("abab cabab abd", 257)
    assert len(tokenizer.encode("ab")) == 1
    assert len(tokenizer.encode("abd")) == 2
    assert len(tokenizer.encode("ba")) == 2


# --- windows ----------------------------------------------------------------------------------------------------------


def test_windows_are_stretches_of_the_text_and_y_is_one_ahead() -> None:
    data = TextData(context=16, batch_size=8, limit=1_000)
    row = data.tokens["train"]
    assert len(row) == 1_000
    places = {tuple(row[i : i + 17].tolist()): i for i in range(1_000 - 16)}
    batches = list(data.train_dataloader())
    assert len(batches) == 62 // 8
    for x, y in batches:
        assert x.shape == y.shape == (8, 16)
        assert torch.equal(x[:, 1:], y[:, :-1])
        assert all((*a.tolist(), int(b[-1])) in places for a, b in zip(x, y, strict=True))
    starts = [places[(*a.tolist(), int(b[-1]))] % 16 for x, y in batches for a, b in zip(x, y, strict=True)]
    assert len(set(starts)) > 8, "windows begin anywhere"


def test_validation_windows_stand_side_by_side() -> None:
    data = TextData(context=16, batch_size=8)
    row, windows = data.tokens["validation"], torch.cat([x for x, _ in data.val_dataloader()])
    assert torch.equal(windows.flatten(), row[: len(windows) * 16])
    assert len(row) - len(windows) * 16 <= 17


def test_two_passes_with_one_seed_are_the_same() -> None:
    data = TextData(context=16, batch_size=8, limit=1_000)
    passes = []
    for _ in range(2):
        torch.manual_seed(3)
        passes.append([x for x, _ in data.train_dataloader()])
    assert all(torch.equal(a, b) for a, b in zip(*passes, strict=True))
    assert not torch.equal(next(iter(data.train_dataloader()))[0], passes[0][0])


def test_a_small_text_is_one_small_batch() -> None:
    (x, _), *rest = TextData(context=16, batch_size=8, limit=40).train_dataloader()
    assert x.shape == (2, 16)
    assert not rest


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.bad_input
def test_unknown_names() -> None:
    with pytest.raises(ValueError, match=r"text 'odyssey' is unknown; there are 'python_docs', .* or the path of your"):
        load_text("odyssey")
    with pytest.raises(ValueError, match="split is 'all'; it takes one of 'train', 'validation', 'test'"):
        load_text(split="all")


@pytest.mark.bad_input
def test_empty_texts(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"empty.txt holds no text but 2 characters of white space; give a file"):
        load_text(tmp_path / "empty.txt")
    with pytest.raises(FileNotFoundError, match=r"missing\.txt"):
        load_text(tmp_path / "missing.txt")
    with pytest.raises(ValueError, match="text is empty"):
        CharTokenizer("")
    with pytest.raises(ValueError, match="text is empty"):
        BytePairTokenizer("", 300)
    with pytest.raises(ValueError, match="vocab_size is 255; it takes a whole number ≥ 256"):
        BytePairTokenizer("abc", 255)


@pytest.mark.bad_input
def test_tunes_without_music21(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "music21", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r'music21 is not installed: .* pip install "aigc-course\[music\]"'):
        load_text("folk_tunes")


@pytest.mark.bad_input
def test_what_is_outside_the_vocabulary() -> None:
    tokenizer = CharTokenizer("abc")
    with pytest.raises(ValueError, match=r"outside the vocabulary of 3: 'x', 'é'. Leave them out, or build"):
        tokenizer.encode("abéx")
    with pytest.raises(ValueError, match=r"from 0 to 3 .* whole numbers from 0 to 2"):
        tokenizer.decode(torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="from -1 to 2"):
        BytePairTokenizer("abc", 256).decode(torch.tensor([2, -1]))
    with pytest.raises(ValueError, match=r"shape \(1, 2\); it takes a row"):
        tokenizer.decode(torch.tensor([[0, 1]]))


@pytest.mark.bad_input
def test_windows_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="the train split has 10 tokens; a window of context 16 and the token after"):
        TextData(context=16, batch_size=8, limit=10)
    with pytest.raises(ValueError, match="context is 0"):
        TextData(context=0, batch_size=8)
    with pytest.raises(ValueError, match="batch_size is 0"):
        TextData(context=16, batch_size=0)
    with pytest.raises(ValueError, match="limit is 0"):
        TextData(context=16, batch_size=8, limit=0)
