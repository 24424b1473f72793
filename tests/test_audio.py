"""The μ-law there and back, WAV files of every kind, tunes as sound, bad input."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import wavfile

from aigc_course.data import audio
from aigc_course.data.tunes import Note, Tune


@given(st.integers(2, 300))
def test_levels_there_and_back(levels: int) -> None:
    samples = torch.arange(levels)
    sound = audio.mu_law_decode(samples, levels)
    assert torch.equal(audio.mu_law_encode(sound, levels), samples)
    assert (sound[1:] > sound[:-1]).all()
    torch.testing.assert_close(sound, -sound.flip(0))
    torch.testing.assert_close(sound[[0, -1]], torch.tensor([-1.0, 1.0]))


def test_rounding_is_fine_near_silence_and_coarse_where_it_is_loud() -> None:
    sound = torch.linspace(-1, 1, 10_001)
    error = (audio.mu_law_decode(audio.mu_law_encode(sound)) - sound).abs()
    assert error[sound.abs() < 0.01].max() < 3e-4
    assert 0.01 < error[sound.abs() > 0.8].max() < 0.03
    # Half of all levels are for sizes below (√256 - 1) / 255.
    half = (16 - 1) / 255
    assert audio.mu_law_encode(torch.tensor(half - 1e-3)) <= 128 + 64
    assert audio.mu_law_encode(torch.tensor(half + 1e-3)) >= 128 + 63


@pytest.mark.bad_input
def test_samples_out_of_range() -> None:
    for wrong in (1.5, float("nan")):
        with pytest.raises(ValueError, match=r"it takes values in \[-1, 1\]. Divide it"):
            audio.mu_law_encode(torch.tensor([0.0, wrong]))
    with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
        audio.mu_law_decode(torch.tensor([256]))
    with pytest.raises(ValueError, match="levels is 1"):
        audio.mu_law_encode(torch.zeros(1), 1)


# --- files ------------------------------------------------------------------------------------------------------------

TONE = 0.5 * np.sin(2 * np.pi * 200 * np.arange(8000) / 8000)


@pytest.mark.parametrize(
    ("numbers", "error"),
    [
        ((TONE * 32767).astype(np.int16), 1e-4),
        ((TONE * 127 + 128).round().astype(np.uint8), 1e-2),
        ((TONE * 2147483647).astype(np.int32), 1e-6),
        (TONE.astype(np.float32), 1e-6),
        (TONE, 1e-6),
        (np.stack([(TONE * 32767), np.zeros(8000)], axis=1).astype(np.int16), None),
    ],
    ids=["16-bit", "8-bit", "32-bit", "float", "double", "stereo"],
)
def test_every_kind_of_numbers(tmp_path: Path, numbers: Any, error: float | None) -> None:
    wavfile.write(tmp_path / "tone.wav", 8000, numbers)
    sound = audio.load_audio(tmp_path / "tone.wav", 8000)
    expected = torch.from_numpy(TONE).float() * (0.5 if error is None else 1)
    torch.testing.assert_close(sound, expected, atol=error or 1e-4, rtol=0)


@pytest.mark.parametrize("rate", [16_000, 44_100, 4000, 11_025])
def test_other_sample_rates_are_converted(tmp_path: Path, rate: int) -> None:
    time = np.arange(2 * rate) / rate
    high = 0.3 * np.sin(2 * np.pi * 5000 * time) if rate > 10_000 else 0.0  # more than 8,000 samples can hold
    wavfile.write(tmp_path / "tone.wav", rate, (0.5 * np.sin(2 * np.pi * 200 * time) + high).astype(np.float32))
    sound = audio.load_audio(str(tmp_path / "tone.wav"), 8000)
    assert len(sound) == 16_000
    middle = slice(2000, 14_000)
    expected = torch.sin(2 * torch.pi * 200 * torch.arange(16_000) / 8000) / 2
    torch.testing.assert_close(sound[middle], expected[middle], atol=0.02, rtol=0)


@pytest.mark.bad_input
def test_files_that_are_no_sound(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not a sound at all, but long enough for a header")
    (tmp_path / "empty.wav").write_bytes(b"")
    for name in ("text.wav", "empty.wav"):
        with pytest.raises(ValueError, match="cannot be read as a WAV file of plain numbers"):
            audio.load_audio(tmp_path / name, 8000)
    wavfile.write(tmp_path / "none.wav", 8000, np.zeros(0, np.int16))
    with pytest.raises(ValueError, match="has no samples"):
        audio.load_audio(tmp_path / "none.wav", 8000)
    wavfile.write(tmp_path / "nan.wav", 8000, np.full(10, np.nan, np.float32))
    with pytest.raises(ValueError, match="not finite numbers"):
        audio.load_audio(tmp_path / "nan.wav", 8000)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        audio.load_audio(tmp_path / "missing.wav", 8000)
    with pytest.raises(ValueError, match="sample_rate is 0"):
        audio.load_audio(tmp_path / "nan.wav", 0)


# --- tunes as sound ---------------------------------------------------------------------------------------------------


def test_conditions_say_what_sounds() -> None:
    tune = Tune(0, "4/4", 0, ((Note(60, 8), Note(None, 8), Note(67, 16)),))
    sound, conditions = audio.played(tune, sample_rate=4000)
    assert sound.shape == conditions.shape
    assert len(sound) == 6000  # four quarters at 160 per minute
    assert [audio.PITCHES[number] for number in conditions[[0, 1499, 1500, 2999, 3000, 5999]]] == [
        60,
        60,
        None,
        None,
        67,
        67,
    ]
    assert (sound[1500:3000] == 0).all()


def test_windows_of_the_tunes() -> None:
    data = audio.PlayedTunes(seconds=20.0, context=1000, batch_size=4)
    assert {split: len(row) for split, row in data.samples.items()} == {
        "train": 80_000,
        "validation": 8000,
        "test": 8000,
    }
    torch.manual_seed(0)
    for loader, count in ((data.train_dataloader(), 19), (data.val_dataloader(), 2)):
        batches = list(loader)
        assert len(batches) == count
        for x, y, conditions in batches:
            assert x.shape == y.shape == conditions.shape
            assert torch.equal(x[:, 1:], y[:, :-1])
    x, y, conditions = next(iter(data.val_dataloader()))
    assert torch.equal(y[0], data.samples["validation"][1:1001])
    assert torch.equal(conditions[0], data.conditions["validation"][1:1001])


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 0.0}, "seconds is 0"),
        ({"sample_rate": 0}, "sample_rate is 0"),
        ({"context": 0}, "context is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"context": 4000}, "the validation split has 4000 samples; a window of context 4000"),
    ],
)
def test_wrong_arguments_of_the_played_tunes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        audio.PlayedTunes(**{"seconds": 10.0, "context": 1000, "batch_size": 4, **options})


@pytest.mark.bad_input
def test_tune_with_another_pitch_is_not_played() -> None:
    with pytest.raises(ValueError, match="the tune has the pitch 50; it takes 55 to 79"):
        audio.played(Tune(0, "4/4", 0, ((Note(50, 8),),)), sample_rate=4000)
