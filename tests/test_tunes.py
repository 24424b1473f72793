"""Tunes: ABC read as the standard says, tokens there and back, splits that share nothing, sound, bad input."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import RandomSampler

from aigc_course.data import tunes
from aigc_course.data.audio import frequency, synthesise
from aigc_course.data.tunes import Note, Tune, parse_abc

SIMPLE = "O: here\nM: 3/4\nL: 1/8\nK: G\nD2 | G2B2d2 | f4z2\n_e2=e2c2 | c4"


def pitches(body: str, key: str = "C", metre: str = "4/4", unit: str = "1/4") -> list[int | None]:
    return [note.pitch for note in parse_abc(f"M: {metre}\nL: {unit}\nK: {key}\n{body}").notes]


# --- ABC --------------------------------------------------------------------------------------------------------------


def test_tune_is_read() -> None:
    tune = parse_abc(SIMPLE)
    assert (tune.sharps, tune.metre, tune.pickup, tune.bar) == (1, "3/4", 8, 24)
    first = ((62, 8), (67, 8), (71, 8), (74, 8), (78, 16), (None, 8))
    assert tune.phrases == (tuple(Note(*note) for note in first), tuple(map(Note, (75, 76, 72, 72), (8, 8, 8, 16))))


def test_octaves_accidentals_and_signature() -> None:
    assert pitches("C,Cc'c") == [48, 60, 84, 72]
    assert pitches("FGAB", "F") == [65, 67, 69, 70]
    assert pitches("CFGD", "A") == [61, 66, 68, 62]
    assert pitches("BEAD", "Ab") == [70, 63, 68, 61]
    assert pitches("^F__B^^C=G") == [66, 69, 62, 67]
    assert pitches("CFGA", "Em") == [60, 66, 67, 69]


def test_accidental_holds_to_the_end_of_the_bar_in_its_octave() -> None:
    assert pitches("^CCcC | C4") == [61, 61, 72, 61, 60]
    assert pitches("^C=CCC") == [61, 60, 60, 60]
    # The bar line at the end of a line may be missing.
    assert pitches("^CCCC\nC4") == [61, 61, 61, 61, 60]
    # A phrase may end within a bar, whose accidentals go on.
    assert pitches("^CC\nCC | C4") == [61, 61, 61, 61, 60]


def test_tied_notes_are_one() -> None:
    tune = parse_abc("M: 4/4\nL: 1/4\nK: C\nC-CD2")
    assert tune.notes == (Note(60, 16), Note(62, 16))


def test_unit_of_length_is_the_standards_where_it_is_not_given() -> None:
    assert parse_abc("M: 4/4\nK: C\nC8").notes == (Note(60, 32),)
    assert parse_abc("M: 2/4\nK: C\nC8").notes == (Note(60, 16),)


def test_bar_lines_may_be_missing_between_phrases_only_where_a_bar_ends() -> None:
    tune = parse_abc("M: 2/4\nL: 1/4\nK: C\nCC\nCC | C2\nC2")
    assert [len(phrase) for phrase in tune.phrases] == [2, 3, 1]
    assert tune.pickup == 0


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("K: C\nC", "no field M:"),
        ("C D E", "no field K: and no field M:"),
        ("M: 7/8\nK: C\nC", "the metre is '7/8'; the vocabulary has 2/4"),
        ("M: none\nK: C\nC", "the metre is 'none'"),
        ("M: 4/4\nK: H\nC", "the key is 'H'; it takes Gb"),
        ("M: 4/4\nL: 1/5\nK: C\nC", "unit of length is '1/5'"),
        ("M: 4/4\nL: 1/4\nK: C\n[CE]", r"'\[CE\]' in the line"),
        ("M: 4/4\nL: 1/4\nK: C\n(3CDE", r"is not read here: it takes one voice"),
        ("M: 4/4\nL: 1/4\nK: C\nC3 | C4 | C3 | C4", "a bar line stands 24 ticks into a bar of 32"),
        ("M: 4/4\nL: 1/4\nK: C\nC4 | C2D | C4", "a bar line stands 24 ticks into a bar of 32"),
        ("M: 4/4\nL: 1/4\nK: C\nC4 | C5", "a note of 40 ticks sounds over a bar line"),
        ("M: 4/4\nL: 1/4\nK: C\nC4- | C4", "sounds over a bar line"),
        ("M: 4/4\nL: 1/4\nK: C\nC-DEF", "a tie joins two notes of different pitch"),
        ("M: 12/8\nL: 1/32\nK: C\nC5C", "a note is 5 32nds long"),
        ("M: 4/4\nL: 1/4\nK: C\nC,,,C", "a note has the pitch 24; the vocabulary has 42 to 90"),
        ("M: 4/4\nL: 1/4\nK: C\n^_C", "has no accidental"),
        ("M: 4/4\nL: 1/4\nK: C\nz4", "the tune has no notes"),
        ("M: 4/4\nL: 1/4\nK: C", "the tune has no notes"),
    ],
)
def test_what_is_not_read_says_why(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_abc(text)


# --- tunes ------------------------------------------------------------------------------------------------------------


def test_scale() -> None:
    assert Tune(0, "4/4", 0, ()).scale == {0, 2, 4, 5, 7, 9, 11}
    assert Tune(2, "4/4", 0, ()).scale == {2, 4, 6, 7, 9, 11, 1}
    assert Tune(-1, "4/4", 0, ()).scale == {5, 7, 9, 10, 0, 2, 4}
    assert parse_abc(SIMPLE).in_key() == pytest.approx(8 / 9)  # the E flat is not


@given(st.integers(-6, 6), st.integers(-12, 12))
def test_transposed_scale_is_the_scale_transposed(sharps: int, semitones: int) -> None:
    tune = Tune(sharps, "4/4", 0, ((Note(60, 8), Note(None, 8)),))
    moved = tune.transposed(semitones)
    assert moved.scale == {(pitch + semitones) % 12 for pitch in tune.scale}
    assert moved.phrases == ((Note(60 + semitones, 8), Note(None, 8)),)
    assert -5 <= moved.sharps <= 6


# --- tokens -----------------------------------------------------------------------------------------------------------


def written(tokens: list[int]) -> str:
    return ", ".join(tunes.VOCABULARY[token] for token in tokens)


def test_tokens_of_a_tune() -> None:
    tokens = tunes.encode(parse_abc(SIMPLE))
    first = "sharps 1, metre 3/4, 62 8, |, 67 8, 71 8, 74 8, |, 78 16, rest 8, |, /, "
    assert written(tokens) == first + "75 8, 76 8, 72 8, |, 72 16, end"
    assert tunes.bar_lengths(tokens) == [8, 24, 24, 24, 16]
    assert len(tunes.VOCABULARY) == len(set(tunes.VOCABULARY))


def test_tokens_of_phrases_have_no_sharps() -> None:
    first, second = tunes.encode_phrases(parse_abc(SIMPLE))
    assert written(first) == "metre 3/4, 67 8, |, 72 8, 76 8, 79 8, |, 83 16, rest 8, |, end"
    assert written(second) == "metre 3/4, 80 8, 81 8, 77 8, |, 77 16, end"
    for sharps in range(-6, 7):
        tune = Tune(sharps, "4/4", 0, ((Note(60, 32),),))
        (phrase,) = (tunes.decode(tokens) for tokens in tunes.encode_phrases(tune))
        pitch = phrase.notes[0].pitch
        assert pitch is not None
        assert abs(pitch - 60) <= 6
        assert (pitch % 12 in phrase.scale) == (0 in tune.scale)
        assert phrase.sharps == 0


@st.composite
def whole_tunes(draw: st.DrawFn) -> Any:
    """What a `Tune` is made of; the shape checks of one that is made here would use Python's random numbers."""
    metre = draw(st.sampled_from(tunes.METRES))
    bar = tunes.bar_ticks(metre)
    pickup = draw(st.integers(0, bar - 1))
    phrases, place = [], -pickup % bar
    for _ in range(draw(st.integers(1, 3))):
        phrase = []
        for _ in range(draw(st.integers(1, 6))):
            ticks = draw(st.sampled_from([length for length in tunes.LENGTHS if length <= bar - place]))
            pitch = draw(st.none() | st.integers(tunes.LOWEST, tunes.HIGHEST))
            phrase.append(Note(pitch, ticks))
            place = (place + ticks) % bar
        phrases.append(tuple(phrase))
    return draw(st.integers(-6, 6)), metre, pickup, tuple(phrases)


@given(whole_tunes())
def test_tokens_there_and_back(parts: Any) -> None:
    tune = Tune(*parts)
    tokens = tunes.encode(tune)
    back = tunes.decode(tokens)
    assert (back.sharps, back.metre, back.phrases) == (tune.sharps, tune.metre, tune.phrases)
    lengths = tunes.bar_lengths(tokens)
    if len(lengths) > 1:  # without a bar line nobody knows where in the bar the tune began
        assert back == tune
        assert lengths[0] == (tune.pickup or tune.bar)
    assert all(length == tune.bar for length in lengths[1:-1])
    assert lengths[-1] < tune.bar


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "begin with 'the end'; a metre"),
        (["60 8"], "begin with '60 8'; a metre"),
        (["sharps 0", "|"], "begin with '\\|'; a metre"),
        (["metre 4/4", "60 8", "metre 4/4"], "'metre 4/4' stands where a note"),
        (["metre 4/4", "60 8", "sharps 1"], "'sharps 1' stands where a note"),
    ],
)
def test_tokens_in_another_order_say_what_was_expected(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tunes.decode([tunes.TOKEN[name] for name in names])


@pytest.mark.bad_input
def test_what_the_vocabulary_has_not() -> None:
    for tune, message in (
        (Tune(7, "4/4", 0, ((Note(60, 8),),)), "7 sharps"),
        (Tune(0, "4/4", 0, ((Note(60, 5),),)), "5 32nds"),
        (Tune(0, "4/4", 0, ((Note(91, 8),),)), "pitch 91"),
        (Tune(0, "2/4", 0, ((Note(60, 24),),)), "over a bar line"),
        (Tune(0, "5/8", 0, ((Note(60, 8),),)), "metre is '5/8'"),
    ):
        with pytest.raises(ValueError, match=message):
            tunes.encode(tune)
    with pytest.raises(ValueError, match=f"{len(tunes.VOCABULARY)} is no token"):
        tunes.decode([len(tunes.VOCABULARY)])


def test_rows() -> None:
    x, y = tunes.rows([[5, 6, 7], [8, 9]], 4)
    assert x.tolist() == [[5, 6, 0, 0], [8, 0, 0, 0]]
    assert y.tolist() == [[6, 7, -100, -100], [9, -100, -100, -100]]
    assert tunes.rows([[5, 6, 7]])[0].shape == (1, 2)


@pytest.mark.bad_input
@pytest.mark.parametrize(("sequences", "length"), [([], None), ([[5]], None), ([[5, 6, 7]], 1)])
def test_rows_that_do_not_fit(sequences: list[list[int]], length: int | None) -> None:
    with pytest.raises(ValueError, match="it takes at least one, each of 2 to"):
        tunes.rows(sequences, length)


# --- the collection ---------------------------------------------------------------------------------------------------


def test_collection_is_read() -> None:
    sizes = {split: len(tunes.load_tunes(split)) for split in ("train", "validation", "test")}
    assert sizes["train"] > 5000
    assert min(sizes.values()) > 250
    for tune in tunes.load_tunes("validation"):
        assert tune.in_key() >= 0.9
        assert tunes.decode(tunes.encode(tune)) == tune


def test_phrases_of_splits_are_different() -> None:
    data = tunes.TuneData("phrase", context=40, batch_size=32, limit=100)
    assert len(data.sequences["train"]) == 100
    batches = list(data.train_dataloader())
    assert [len(x) for x, _ in batches] == [32, 32, 32]
    for x, y in batches:
        assert x.shape == y.shape
        assert (y != tunes.IGNORED).any(dim=0).all()
        assert {tunes.VOCABULARY[token].split()[0] for token in x[:, 0].tolist()} == {"metre"}
    everything = tunes.TuneData("phrase", context=40, batch_size=32).sequences
    splits = [set(map(tuple, each)) for each in everything.values()]
    assert len(set.union(*splits)) == sum(len(each) for each in everything.values())
    assert len(splits[0]) > 20_000


def test_batches_of_a_pass_are_all_rows_of_about_the_same_length() -> None:
    torch.manual_seed(0)
    lengths = torch.randint(1, 40, (1000,))
    sampler = tunes._ByLength(RandomSampler(range(1000)), 16, False, lengths)
    first, second = list(sampler), list(sampler)
    assert len(first) == len(sampler) == 63
    for batches in (first, second):
        assert sorted(number for batch in batches for number in batch) == list(range(1000))
        spread = [lengths[batch].max() - lengths[batch].min() for batch in batches]
        assert sum(spread) / len(spread) < 3
    assert first != second
    full = list(tunes._ByLength(RandomSampler(range(1000)), 16, True, lengths))
    assert [len(batch) for batch in full] == [16] * 62


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "bar"}, "unit is 'bar'; it takes 'tune' or 'phrase'"),
        ({"context": 0}, "context is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"limit": 0}, "limit is 0"),
    ],
)
def test_wrong_arguments_of_the_data(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tunes.TuneData(**{"context": 40, "batch_size": 8, **options})


# --- sound ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pitch", [45, 60, 69, 88])
def test_note_sounds_at_its_frequency(pitch: int) -> None:
    sound = synthesise([Note(pitch, 32)], tempo=60.0, sample_rate=8000)  # four seconds
    assert len(sound) == 32_000
    spectrum = torch.fft.rfft(sound).abs()
    assert spectrum.argmax() / 4 == pytest.approx(frequency(pitch), abs=0.5)
    assert frequency(69) == 440
    assert frequency(81) == 880


def test_nothing_is_above_half_the_sample_rate() -> None:
    # An aliased harmonic would stand between the others.
    sound = synthesise([Note(88, 32)], tempo=60.0, sample_rate=8000)
    spectrum, f = torch.fft.rfft(sound).abs(), frequency(88)
    for k in (4, 5, 6):
        alias = 8000 - k * f
        near = spectrum[round(4 * alias) - 8 : round(4 * alias) + 9]
        assert near.max() < 0.02 * spectrum.max()


def test_sound_begins_and_ends_without_a_click_and_keeps_its_length() -> None:
    notes = [Note(60, 3), Note(None, 5), Note(72, 1), Note(64, 7)]
    sound = synthesise(notes, tempo=97.0, sample_rate=8000)
    assert len(sound) == round(16 * 60 / 97 / 8 * 8000)
    assert sound.abs().max() <= 0.8 + 1e-6
    first = round(3 * 60 / 97 / 8 * 8000)
    assert (sound[first : first + 700] == 0).all()
    assert sound[0] == 0
    assert sound[first - 1].abs() < 0.02
    assert synthesise([]).shape == (0,)


@pytest.mark.bad_input
def test_sound_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="take a higher sample_rate"):
        synthesise([Note(88, 8)], sample_rate=2000)
    with pytest.raises(ValueError, match="tempo is 0"):
        synthesise([Note(60, 8)], tempo=0.0)
    with pytest.raises(ValueError, match="sample_rate is 0"):
        synthesise([Note(60, 8)], sample_rate=0)
