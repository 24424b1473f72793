"""Sound as numbers: a small synthesiser that plays tunes."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from aigc_course.checks import check_count, check_positive
from aigc_course.data.tunes import TICKS, Note

LOUDEST = 0.8  # the highest value of a note alone; what is played stays below 1


def frequency(pitch: float) -> float:
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
