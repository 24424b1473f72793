"""Sound as numbers: the μ-law, files of sound, a small synthesiser, and the tunes it plays as data."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from aigc_course.checks import check_count, check_positive, check_tokens
from aigc_course.data.files import SPLITS
from aigc_course.data.tunes import TICKS, Note, Tune, load_tunes

# --- the μ-law --------------------------------------------------------------------------------------------------------


def mu_law_encode(sound: Float[Tensor, "..."], levels: int = 256) -> Int[Tensor, "..."]:
    r"""Return samples in [-1, 1] as whole numbers from 0 to `levels` - 1: fine steps near silence, coarse loud ones.

    $$f(s) = \operatorname{sign}(s) \frac{\log(1 + \mu \lvert s \rvert)}{\log(1 + \mu)}, \qquad
    x = \operatorname{round}\left(\mu\, \frac{f(s) + 1}{2}\right), \qquad \mu = \text{levels} - 1$$

    Source: ITU-T recommendation G.711 (1988), there in pieces of straight lines; van den Oord et al. (2016),
    https://arxiv.org/abs/1609.03499, section 2.2.

    Raises `ValueError` for samples outside [-1, 1] (NaN too) and fewer than two levels.
    """
    check_count("levels", levels, least=2)
    if sound.numel() and not sound.abs().max() <= 1:
        raise ValueError(
            f"sound has values from {sound.min():.3g} to {sound.max():.3g}; it takes values in [-1, 1]. "
            "Divide it by its largest size."
        )
    mu = levels - 1
    squeezed = sound.sign() * (mu * sound.abs()).log1p() / math.log1p(mu)
    return (mu * (squeezed + 1) / 2).round().long()


def mu_law_decode(samples: Int[Tensor, "..."], levels: int = 256) -> Float[Tensor, "..."]:
    r"""Return the samples in [-1, 1] that whole numbers stand for: the inverse of `mu_law_encode` up to rounding.

    $$s = \operatorname{sign}(f) \frac{(1 + \mu)^{\lvert f \rvert} - 1}{\mu}, \qquad f = \frac{2 x}{\mu} - 1$$

    Raises `ValueError` for numbers outside 0 … `levels` - 1.
    """
    check_count("levels", levels, least=2)
    check_tokens(samples, levels)
    mu = levels - 1
    squeezed = 2 * samples.float() / mu - 1
    sizes = (squeezed.abs() * math.log1p(mu)).expm1() / mu
    return squeezed.sign() * sizes.clamp(max=1)  # rounding could end just above 1


# --- files ------------------------------------------------------------------------------------------------------------


def load_audio(path: str | Path, sample_rate: int) -> Float[Tensor, " time"]:
    """Return a WAV file's sound as samples in [-1, 1], one channel, at this sample rate.

    Several channels are averaged. Another sample rate is converted, by a filter that keeps out what the new rate cannot
    hold.

    Raises `ValueError` for a file that is no WAV file of plain numbers or has no samples, `FileNotFoundError` for one
    that is not there.
    """
    from scipy.io import wavfile  # these two take half a second
    from scipy.signal import resample_poly

    check_count("sample_rate", sample_rate)
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    try:
        rate, numbers = wavfile.read(path)
    except (ValueError, EOFError, IndexError) as error:
        raise ValueError(
            f"{path} cannot be read as a WAV file of plain numbers ({error}). "
            "Save the sound as WAV with 16-bit PCM samples: most audio programs can."
        ) from error
    if not numbers.size:
        raise ValueError(f"{path} has no samples.")
    sound = numbers.astype(np.float64)
    if numbers.dtype == np.uint8:  # the only format whose silence is not 0
        sound = (sound - 128) / 128
    elif np.issubdtype(numbers.dtype, np.integer):
        sound /= -float(np.iinfo(numbers.dtype).min)
    if sound.ndim == 2:
        sound = sound.mean(axis=1)
    if not np.isfinite(sound).all():
        raise ValueError(f"{path} has samples that are not finite numbers.")
    if rate != sample_rate:
        common = math.gcd(rate, sample_rate)
        sound = resample_poly(sound, sample_rate // common, rate // common)
    return torch.from_numpy(sound.clip(-1, 1)).float()


# --- a synthesiser ----------------------------------------------------------------------------------------------------

LOUDEST = 0.8  # the highest value of a note alone; what is played stays below 1


def frequency(pitch: int) -> float:
    """Return the frequency of a MIDI pitch in hertz: 440 for 69, doubled with each octave of 12."""
    return 440.0 * 2.0 ** ((pitch - 69) / 12)


def synthesise(notes: Sequence[Note], *, tempo: float = 120.0, sample_rate: int = 8000) -> Float[Tensor, " time"]:
    r"""Return the sound of notes, one after the other, as samples in (-1, 1).

    A note of frequency f is a sum of harmonics that fade, the higher the sooner:

    $$s(t) = g(t) \sum_k k^{-1.5}\, e^{-1.5 \sqrt k\, t} \sin(2 \pi k f t),$$

    over all k with $k f$ below half the sample rate (what lies above would come back as another, false frequency) and
    at most 8. The gain $g$ rises and falls within 10 milliseconds, so that no note begins or ends with a click, and
    scales the note so that no sample is above 0.8 in size. Rests are zeros.

    **Arguments:** `tempo`: quarter notes per minute; `sample_rate`: samples per second.

    Raises `ValueError` for arguments that are not above 0, and for a pitch with no harmonic below half the sample rate.
    """
    check_positive("tempo", tempo)
    check_count("sample_rate", sample_rate)
    tick = 60 / tempo * 4 / TICKS  # seconds
    parts, now, start = [torch.zeros(0)], 0, 0
    for pitch, ticks in notes:
        now += ticks
        end = round(now * tick * sample_rate)  # rounded in all, not for each note, so that a long tune does not drift
        length, start = end - start, end
        parts.append(torch.zeros(length) if pitch is None else _tone(frequency(pitch), length, sample_rate))
    return torch.cat(parts)


def _tone(hertz: float, length: int, sample_rate: int) -> Tensor:
    if 2 * hertz >= sample_rate:
        raise ValueError(
            f"a note has {hertz:.0f} hertz, and {sample_rate} samples per second hold frequencies below "
            f"{sample_rate / 2:g}; take a higher sample_rate."
        )
    time = torch.arange(length, dtype=torch.double) / sample_rate
    sound = torch.zeros(length, dtype=torch.double)
    for k in range(1, 9):
        if 2 * k * hertz < sample_rate:
            sound += k**-1.5 * (-1.5 * math.sqrt(k) * time).exp() * (2 * math.pi * k * hertz * time).sin()
    edge = 0.01
    gain = (torch.minimum(time, (length - 1) / sample_rate - time) / edge).clamp(max=1)
    sound = sound * gain
    loudest = sound.abs().max() if length else 0.0
    return (LOUDEST * sound / loudest if loudest else sound).float()


# --- the tunes as sound -----------------------------------------------------------------------------------------------

# What a sample's condition stands for: 0 is silence, then each pitch.
LOWEST_SOUNDED = 55
PITCHES = (None, *range(LOWEST_SOUNDED, 80))


def played(tune: Tune, *, sample_rate: int) -> tuple[Float[Tensor, " time"], Int[Tensor, " time"]]:
    """Return the sound of a tune, and for each sample the place in `PITCHES` of the note that sounds.

    The tempo is one in which a tune of the collection takes a time that one likes to hear: 160 quarters per minute.

    Raises `ValueError` for a pitch that is not in `PITCHES`, and as `synthesise`.
    """
    if outside := [note.pitch for note in tune.notes if note.pitch not in PITCHES]:
        raise ValueError(f"the tune has the pitch {outside[0]}; it takes {LOWEST_SOUNDED} to {PITCHES[-1]}.")
    sound = synthesise(tune.notes, tempo=160.0, sample_rate=sample_rate)
    ends = torch.tensor([note.ticks for note in tune.notes]).cumsum(0)
    ends = (ends * (60 / 160 * 4 / TICKS * sample_rate)).round().long()
    conditions = torch.tensor([PITCHES.index(note.pitch) for note in tune.notes])
    return sound, conditions.repeat_interleave(torch.diff(ends, prepend=torch.tensor([0])))


class _Windows(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Windows of a row of samples: what is known, what comes next, and the condition of what comes next."""

    def __init__(self, samples: Tensor, conditions: Tensor, context: int, *, jitter: bool) -> None:
        self.samples, self.conditions, self.context, self.jitter = samples, conditions, context, jitter

    def __len__(self) -> int:
        return (len(self.samples) - 1) // self.context

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        start, last = number * self.context, len(self.samples) - self.context - 1
        if self.jitter:
            start = min(start + int(torch.randint(self.context, ())), last)
        window = self.samples[start : start + self.context + 1]
        return window[:-1], window[1:], self.conditions[start + 1 : start + self.context + 1]


class PlayedTunes(pl.LightningDataModule):
    """Batches `(x, y, conditions)` of folk tunes as sound, all (batch, context): μ-law levels, and what note sounds.

    `y` is `x` moved on by one sample. Tunes of each split are played one after the other until the split is long
    enough; those with a pitch outside `PITCHES` are left out. Training windows are moved on by a random number of
    samples below `context`.

    **Arguments:** `seconds`: of training data; a tenth as much is held out for validation and for the test each, at
    least a window; `sample_rate`: per second; `context`: samples in a window; `batch_size`: windows in a batch;
    `levels`: of the μ-law.

    Once made, it has the attributes `samples` and `conditions`, dictionaries with a row for each split.

    Raises `ValueError` for numbers that are not above 0, for splits too short for one window, and as `load_tunes`.
    """

    def __init__(
        self, *, seconds: float, sample_rate: int = 4000, context: int, batch_size: int, levels: int = 256
    ) -> None:
        super().__init__()
        check_positive("seconds", seconds)
        for name, value in {"sample_rate": sample_rate, "context": context, "batch_size": batch_size}.items():
            check_count(name, value)
        self.context, self.batch_size = context, batch_size
        self.samples: dict[str, Tensor] = {}
        self.conditions: dict[str, Tensor] = {}
        for split in SPLITS:
            wanted = int(seconds * sample_rate * (1 if split == "train" else 0.1))
            sounds, conditions, length = [], [], 0
            for tune in load_tunes(split):
                if length < wanted and all(note.pitch in PITCHES for note in tune.notes):
                    sound, condition = played(tune, sample_rate=sample_rate)
                    sounds.append(sound)
                    conditions.append(condition)
                    length += len(sound)
            self.samples[split] = mu_law_encode(torch.cat(sounds), levels)[:wanted]
            self.conditions[split] = torch.cat(conditions)[:wanted]
            if wanted <= context:
                raise ValueError(
                    f"the {split} split has {wanted} samples; a window of context {context} and the sample after it do "
                    f"not fit. Take more seconds, or a smaller context."
                )

    def _loader(self, split: str, **options: Any) -> DataLoader[tuple[Tensor, Tensor, Tensor]]:
        windows = _Windows(self.samples[split], self.conditions[split], self.context, jitter=split == "train")
        return DataLoader(windows, self.batch_size, **options)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor, Tensor]]:
        """Windows in random order; a batch that is not full is left out."""
        return self._loader(
            "train", shuffle=True, drop_last=len(self.samples["train"]) > self.context * self.batch_size
        )

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor, Tensor]]:
        """Windows side by side, in order."""
        return self._loader("validation")
