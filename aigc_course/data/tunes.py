"""Tunes as tokens: melodies of the folk-song collection, read from ABC notation, and a vocabulary for their notes.

A tick is a 32nd note. A pitch is a MIDI number: 60 is middle C, and 12 more are an octave.

Sources: H. Schaffrath's Essen folk song collection, ABC by S. Shlien, as it ships with music21; the notation:
https://abcnotation.com/wiki/abc:standard:v2.1.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Sampler, TensorDataset

from aigc_course.checks import check_count
from aigc_course.data.files import SPLITS
from aigc_course.data.text import load_text

TICKS = 32  # a whole note

# Sharps (above 0) or flats in the signature of each key that has a major third, and of the minor keys beside them.
_FIFTHS = ("Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#", "G#", "D#")
SHARPS = {name: number - 6 for number, name in enumerate(_FIFTHS[:13])}
SHARPS |= {f"{name}m": number - 6 for number, name in enumerate(_FIFTHS[3:])}

METRES = ("2/4", "3/4", "4/4", "3/8", "6/8", "9/8", "12/8", "2/2", "3/2", "4/2", "6/4", "5/4")
LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)  # ticks; those with a factor 3 are dotted notes
LOWEST, HIGHEST = 42, 90

END, BAR, PHRASE = "end", "|", "/"
VOCABULARY = (
    *(END, BAR, PHRASE),
    *(f"sharps {sharps}" for sharps in range(-6, 7)),
    *(f"metre {metre}" for metre in METRES),
    *(f"{pitch} {ticks}" for pitch in ("rest", *range(LOWEST, HIGHEST + 1)) for ticks in LENGTHS),
)
TOKEN = {name: number for number, name in enumerate(VOCABULARY)}


class Note(NamedTuple):
    """A note: its `pitch`, or `None` for a rest, and how long it is."""

    pitch: int | None
    ticks: int


@dataclass(frozen=True)
class Tune:
    """A melody in phrases, one note at a time.

    `sharps` is how many sharps (or, below 0, flats) the signature has; `metre` is one of `METRES`; `pickup` is how many
    ticks come before the first bar line, 0 if the tune begins with a whole bar.
    """

    sharps: int
    metre: str
    pickup: int
    phrases: tuple[tuple[Note, ...], ...]

    @property
    def notes(self) -> tuple[Note, ...]:
        """All notes, in order."""
        return tuple(note for phrase in self.phrases for note in phrase)

    @property
    def bar(self) -> int:
        """The ticks of a whole bar."""
        return bar_ticks(self.metre)

    @property
    def scale(self) -> frozenset[int]:
        """The seven pitch classes (0 for C … 11 for B) that need no accidental."""
        return frozenset((7 * fifth) % 12 for fifth in range(self.sharps - 1, self.sharps + 6))

    def in_key(self) -> float:
        """Return the share of the notes, rests left out, that belong to the scale; NaN if there are none."""
        pitches = [note.pitch for note in self.notes if note.pitch is not None]
        return sum(pitch % 12 in self.scale for pitch in pitches) / len(pitches) if pitches else float("nan")

    def transposed(self, semitones: int) -> "Tune":
        """Return the tune so many semitones higher, its signature with it (of F sharp and G flat, the former)."""
        sharps = (self.sharps + 7 * semitones + 5) % 12 - 5
        moved = tuple(
            tuple(Note(None if pitch is None else pitch + semitones, ticks) for pitch, ticks in phrase)
            for phrase in self.phrases
        )
        return replace(self, sharps=sharps, phrases=moved)


def bar_ticks(metre: str) -> int:
    """Return the ticks of a whole bar. Raises `ValueError` for a metre that is none of `METRES`."""
    if metre not in METRES:
        raise ValueError(f"the metre is {metre!r}; the vocabulary has {', '.join(METRES)}.")
    return int(Fraction(metre) * TICKS)


# --- reading ABC ------------------------------------------------------------------------------------------------------

_ITEM = re.compile(r"(?P<bar>\|)|(?P<accidental>[_^=]*)(?P<letter>[A-Ga-gz])(?P<octave>[,']*)(?P<times>\d*)(?P<tie>-?)")
_SEMITONES = dict(zip("CDEFGAB", (0, 2, 4, 5, 7, 9, 11), strict=True))
_ACCIDENTALS = {"_": -1, "=": 0, "^": 1, "__": -2, "^^": 2}


def parse_abc(text: str) -> Tune:
    """Return the tune that a text in ABC notation stands for; each of its lines of notes is a phrase.

    Of the notation it takes what one voice needs: the fields K, M and L (others are passed over), letters with
    accidentals, octaves, whole-number lengths and ties, rests, and plain bar lines. A bar line may be missing at the
    end of a line.

    Raises `ValueError` for anything else in the melody, a key or metre that is not known, a length or pitch that is not
    in the vocabulary, bar lines where the metre has none, and a note that sounds over a bar line.
    """
    lines = [line.partition("%")[0].strip() for line in text.strip().split("\n")]
    fields = {line[0]: line[2:].strip() for line in lines if line[1:2] == ":"}
    if missing := {"K", "M"} - fields.keys():
        raise ValueError(f"the tune has no field {' and no field '.join(f'{name}:' for name in sorted(missing))}.")
    sharps, bar = _sharps(fields["K"]), bar_ticks(fields["M"])
    # Without the field a note is an eighth, in short bars a sixteenth, as the standard says.
    unit = fields.get("L", "1/8" if Fraction(fields["M"]) >= Fraction(3, 4) else "1/16")
    if not re.fullmatch(r"1/(1|2|4|8|16|32)", unit):
        raise ValueError(f"the unit of length is {unit!r}; it takes 1/1, 1/2, 1/4, 1/8, 1/16 or 1/32.")
    ticks = int(Fraction(unit) * TICKS)
    phrases = [list(_items(line)) for line in lines if line and line[1:2] != ":"]
    pickup = _pickup([item for phrase in phrases for item in phrase], ticks, bar)
    reader = _Reader(sharps, bar, pickup, ticks)
    read = tuple(tuple(reader.phrase(phrase)) for phrase in phrases)
    if not any(note.pitch for phrase in read for note in phrase):
        raise ValueError("the tune has no notes.")
    return Tune(sharps, fields["M"], pickup, read)


def _sharps(key: str) -> int:
    if key not in SHARPS:
        raise ValueError(f"the key is {key!r}; it takes {', '.join(SHARPS)}.")
    return SHARPS[key]


def _items(line: str) -> Iterator[re.Match[str]]:
    place = 0
    while place < len(line):
        if line[place] == " ":
            place += 1
        elif item := _ITEM.match(line, place):
            yield item
            place = item.end()
        else:
            raise ValueError(
                f"{line[place : place + 10]!r} in the line {line!r} is not read here: it takes one voice of notes "
                "(^ _ = for accidentals, , ' for octaves, whole numbers for lengths), rests z, ties - and bar lines |."
            )


def _pickup(items: list[re.Match[str]], ticks: int, bar: int) -> int:
    """The ticks before the first bar line, if they are less than a bar."""
    first = 0
    for item in items:
        if item["bar"]:
            break
        first += ticks * int(item["times"] or 1)
    return first if first < bar else 0


class _Reader:
    """Turns the items of one phrase after the other into notes; knows where in the bar it is."""

    def __init__(self, sharps: int, bar: int, pickup: int, ticks: int) -> None:
        order = "FCGDAEB"
        self.signature = dict.fromkeys(order, 0)
        self.signature |= dict.fromkeys(order[: max(sharps, 0)], 1) | dict.fromkeys(order[::-1][: max(-sharps, 0)], -1)
        self.bar, self.ticks, self.place = bar, ticks, -pickup % bar
        self.accidentals: dict[str, int] = {}  # of this bar
        self.tied = False

    def phrase(self, items: Sequence[re.Match[str]]) -> Iterator[Note]:
        """Yield the notes of a phrase, tied ones as one."""
        notes: list[Note] = []
        for item in items:
            if item["bar"]:
                if self.place % self.bar:
                    raise ValueError(f"a bar line stands {self.place} ticks into a bar of {self.bar}.")
                continue
            tied, note = self.tied, self._note(item)
            if tied and not (notes and notes[-1].pitch == note.pitch):
                raise ValueError("a tie joins two notes of different pitch, or of two phrases.")
            notes[len(notes) - tied :] = [Note(note.pitch, note.ticks + (notes[-1].ticks if tied else 0))]
        for note in notes:
            _check_note(note)
        yield from notes

    def _note(self, item: re.Match[str]) -> Note:
        ticks = self.ticks * int(item["times"] or 1)
        if self.place == 0 and not self.tied:
            self.accidentals = {}
        over = self.place + ticks > self.bar or (self.place == 0 and self.tied)
        if over:
            raise ValueError(f"a note of {ticks} ticks sounds over a bar line.")
        self.place, self.tied = (self.place + ticks) % self.bar, bool(item["tie"])
        letter = item["letter"]
        if letter == "z":
            return Note(None, ticks)
        name = letter + item["octave"]
        if item["accidental"]:
            if item["accidental"] not in _ACCIDENTALS:
                raise ValueError(f"{item[0]!r} has no accidental of {', '.join(_ACCIDENTALS)}.")
            self.accidentals[name] = _ACCIDENTALS[item["accidental"]]
        octave = 12 * (item["octave"].count("'") - item["octave"].count(",") + letter.islower())
        raised = self.accidentals.get(name, self.signature[letter.upper()])
        return Note(60 + _SEMITONES[letter.upper()] + octave + raised, ticks)


def _check_note(note: Note) -> None:
    if note.ticks not in LENGTHS:
        raise ValueError(f"a note is {note.ticks} 32nds long; the vocabulary has {', '.join(map(str, LENGTHS))}.")
    if note.pitch is not None and not LOWEST <= note.pitch <= HIGHEST:
        raise ValueError(f"a note has the pitch {note.pitch}; the vocabulary has {LOWEST} to {HIGHEST}.")


# --- tokens -----------------------------------------------------------------------------------------------------------


def encode(tune: Tune) -> list[int]:
    """Return a tune's tokens: signature, metre, then one token for each note, of its pitch and its length, and the end.

    A bar line follows whatever fills a bar, and the end of a phrase stands between two phrases. `decode` undoes it.

    Raises `ValueError` for what the vocabulary does not have.
    """
    if not -6 <= tune.sharps <= 6:
        raise ValueError(f"the signature has {tune.sharps} sharps; the vocabulary has -6 to 6.")
    names, place = [f"sharps {tune.sharps}"], -tune.pickup % tune.bar
    for number, phrase in enumerate(tune.phrases):
        written, place = _spelled(phrase, place, tune.bar)
        names += [f"metre {tune.metre}" if number == 0 else PHRASE, *written]
    return [TOKEN[name] for name in (*names, END)]


def encode_phrases(tune: Tune) -> list[list[int]]:
    """Return the tokens of each phrase of a tune by itself, moved to the signature without sharps or flats.

    Each begins with the metre. The tune is moved by half an octave at most.

    Raises `ValueError` for what the vocabulary does not have.
    """
    moved = tune.transposed((5 * tune.sharps + 6) % 12 - 6)
    rows, place = [], -moved.pickup % moved.bar
    for phrase in moved.phrases:
        written, place = _spelled(phrase, place, moved.bar)
        rows.append([TOKEN[name] for name in (f"metre {moved.metre}", *written, END)])
    return rows


def _spelled(phrase: Sequence[Note], place: int, bar: int) -> tuple[list[str], int]:
    """The names of a phrase's tokens, and where in the bar it ends; it begins at `place`."""
    names = []
    for note in phrase:
        _check_note(note)
        place += note.ticks
        names.append(f"{'rest' if note.pitch is None else note.pitch} {note.ticks}")
        if place > bar:
            raise ValueError(f"a note of {note.ticks} ticks sounds over a bar line.")
        if place == bar:
            names.append(BAR)
            place = 0
    return names, place


def decode(tokens: Sequence[int]) -> Tune:
    """Return the tune that tokens stand for, up to the first end; without a signature it has no sharps or flats.

    The bars need not add up: a tune keeps only the ticks before the first bar line. See `bar_lengths`.

    Raises `ValueError` for tokens that are not in the order in which `encode` writes them.
    """
    names = _names(tokens)
    sharps = int(names.pop(0).split()[1]) if names and names[0].startswith("sharps ") else 0
    if not names or not names[0].startswith("metre "):
        raise ValueError(f"the tokens begin with {' '.join(names[:1]) or 'the end'!r}; a metre was expected.")
    metre = names.pop(0).split()[1]
    phrases: list[list[Note]] = [[]]
    for name in names:
        if name == PHRASE:
            phrases.append([])
        elif name != BAR:
            phrases[-1].append(_note(name))
    first = bar_lengths(tokens)[0]
    return Tune(sharps, metre, first if first < bar_ticks(metre) else 0, tuple(map(tuple, phrases)))


def bar_lengths(tokens: Sequence[int]) -> list[int]:
    """Return how many ticks stand before the first bar line, between each and the next, and after the last."""
    sums = [0]
    for name in _names(tokens):
        if name == BAR:
            sums.append(0)
        elif name[0].isdigit() or name.startswith("rest"):
            sums[-1] += _note(name).ticks
    return sums


def _note(name: str) -> Note:
    pitch, _, ticks = name.partition(" ")
    if not (pitch.isdigit() or pitch == "rest"):
        raise ValueError(f"{name!r} stands where a note, a bar line or the end of a phrase was expected.")
    return Note(None if pitch == "rest" else int(pitch), int(ticks))


def _names(tokens: Sequence[int]) -> list[str]:
    if wrong := [token for token in tokens if not 0 <= token < len(VOCABULARY)]:
        raise ValueError(f"{wrong[0]} is no token; the vocabulary has {len(VOCABULARY)}, from 0 on.")
    names = [VOCABULARY[token] for token in tokens]
    return names[: names.index(END)] if END in names else names


# --- tunes to train on ------------------------------------------------------------------------------------------------


@functools.cache
def load_tunes(split: str = "train") -> tuple[Tune, ...]:
    """Return the tunes of one split of `folk_tunes` that `parse_abc` can read and whose notes are in their key.

    The collection writes many minor tunes with the signature of the major key on the same note, so a tune is left out
    if less than nine tenths of its notes are in its key. So are tunes without a metre or with one that changes, and
    those with notes over bar lines. About 2,500 of 8,400 are left out in all.

    Raises as `load_text`.
    """
    tunes = []
    for text in load_text("folk_tunes", split).strip().split("\n\n"):
        try:
            tune = parse_abc(text)
        except ValueError:  # what it does not read is left out, as said above
            continue
        if tune.in_key() >= 0.9:
            tunes.append(tune)
    return tuple(tunes)


IGNORED = -100  # the target that PyTorch's cross-entropy leaves out


def rows(
    sequences: Sequence[Sequence[int]], length: int | None = None
) -> tuple[Int[Tensor, "batch time"], Int[Tensor, "batch time"]]:
    """Return inputs `x` and targets `y`, `x` moved on by one, of sequences of tokens of different lengths.

    `x` is filled up with ends, `y` with `IGNORED`. Without a `length`, that of the longest sequence is taken.

    Raises `ValueError` for no sequences, one of fewer than two tokens, and one that does not fit.
    """
    longest = max(map(len, sequences), default=0) - 1
    length = longest if length is None else length
    if not sequences or min(map(len, sequences)) < 2 or longest > length:
        raise ValueError(
            f"there are {len(sequences)} sequences, the longest of {longest + 1} tokens; it takes at least one, each "
            f"of 2 to {length + 1} tokens."
        )
    x, y = torch.full((len(sequences), length), TOKEN[END]), torch.full((len(sequences), length), IGNORED)
    for number, sequence in enumerate(sequences):
        tokens = torch.tensor(sequence)
        x[number, : len(tokens) - 1], y[number, : len(tokens) - 1] = tokens[:-1], tokens[1:]
    return x, y


class _ByLength(BatchSampler):
    """Batches of rows of about the same length, in random order, so that little is computed for what fills them up."""

    def __init__(self, sampler: Sampler[int], batch_size: int, drop_last: bool, lengths: Tensor) -> None:
        super().__init__(sampler, batch_size, drop_last)
        self.lengths = lengths

    def __iter__(self) -> Iterator[list[int]]:
        numbers = torch.tensor(list(self.sampler))
        for some in numbers.split(32 * self.batch_size):  # sorted altogether, the same rows would always meet
            batches = some[self.lengths[some].argsort(stable=True)].split(self.batch_size)
            for number in torch.randperm(len(batches)).tolist():
                if len(batches[number]) == self.batch_size or not self.drop_last:
                    yield batches[number].tolist()


def _trimmed(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """A batch, without the columns that only fill it up."""
    x, y = (torch.stack(part) for part in zip(*pairs, strict=True))
    longest = int((y != IGNORED).sum(dim=1).max())
    return x[:, :longest], y[:, :longest]


class TuneData(pl.LightningDataModule):
    """Batches `(x, y)` of the folk tunes as tokens, a tune or a phrase in each row; see `rows`.

    Each batch is as long as its longest row.

    **Arguments:**

    - `unit`: "tune" for whole tunes in their own keys, as `encode` writes them; "phrase" for single phrases without
      sharps or flats, as `encode_phrases` does, each only once.
    - `context`: the longest row; what is longer is left out.
    - `batch_size`: rows in a batch.
    - `limit`: use only so many of the first training rows; `None` means all.

    Once made, it has the attribute `sequences`, a dictionary with a list of token lists for each split.

    Raises `ValueError` for another unit and for numbers below 1, and as `load_tunes`.
    """

    def __init__(self, unit: str = "tune", *, context: int, batch_size: int, limit: int | None = None) -> None:
        super().__init__()
        if unit not in ("tune", "phrase"):
            raise ValueError(f"unit is {unit!r}; it takes 'tune' or 'phrase'.")
        for name, value in {
            "context": context,
            "batch_size": batch_size,
            "limit": 1 if limit is None else limit,
        }.items():
            check_count(name, value)
        self.context, self.batch_size = context, batch_size
        seen: set[tuple[int, ...]] = set()
        self.sequences: dict[str, list[list[int]]] = {}
        for split in SPLITS:
            tunes = load_tunes(split)
            each = map(encode, tunes) if unit == "tune" else (row for tune in tunes for row in encode_phrases(tune))
            # A phrase that was trained on is not held out.
            fresh = {key: None for key in map(tuple, each) if 2 <= len(key) - 1 <= context and key not in seen}
            self.sequences[split] = [list(key) for key in fresh]
            seen |= fresh.keys()
        self.sequences["train"] = self.sequences["train"][:limit]

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Batches in random order, each of rows of about the same length; a batch that is not full is left out."""
        x, y = rows(self.sequences["train"], self.context)
        data = TensorDataset(x, y)
        lengths = (y != IGNORED).sum(dim=1)
        batches = _ByLength(RandomSampler(data), self.batch_size, len(data) >= self.batch_size, lengths)
        return DataLoader(data, batch_sampler=batches, collate_fn=_trimmed)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Held-out rows, in order."""
        data = TensorDataset(*rows(self.sequences["validation"], self.context))
        return DataLoader(data, self.batch_size, collate_fn=_trimmed)
