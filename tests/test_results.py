"""The record of a chapter's figures: written only for the book, whole, and only if it can be read again."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from aigc_course import results


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIGC_COURSE_RESULTS", str(tmp_path / "build" / "results"))
    return tmp_path / "build" / "results"


def test_figures_are_stored_and_returned(folder: Path) -> None:
    returned = results.record("vae", "cpu", negative_elbo_nats=103.9, note="ß", table={"β": [1, 4]})
    assert list(folder.iterdir()) == [folder / "vae.json"]  # nothing else, no temporary file
    assert json.loads((folder / "vae.json").read_text(encoding="utf-8")) == returned
    assert returned["chapter"] == "vae"
    assert returned["profile"] == "cpu"
    assert returned["device"]
    assert (returned["negative_elbo_nats"], returned["note"], returned["table"]) == (103.9, "ß", {"β": [1, 4]})


def test_auto_profile_is_resolved(folder: Path) -> None:
    assert results.record("vae", "auto")["profile"] in ("cpu", "gpu")


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AIGC_COURSE_RESULTS", raising=False)
    if value is not None:
        monkeypatch.setenv("AIGC_COURSE_RESULTS", value)
    assert results.record("vae", "smoke", loss_nats=1.5)["loss_nats"] == 1.5
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results.record("vae", "cpu", loss_nats=1.5)
    write = Path.write_text

    def half(path: Path, text: str, **options: Any) -> int:
        written = write(path, text[: len(text) // 2], **options)
        if path.parent == folder:
            raise KeyboardInterrupt
        return written

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(KeyboardInterrupt):
        results.record("vae", "cpu", loss_nats=2.5)
    assert json.loads((folder / "vae.json").read_text(encoding="utf-8"))["loss_nats"] == 1.5
    assert os.listdir(folder) == ["vae.json"]


@pytest.mark.bad_input
@pytest.mark.parametrize("figure", [float("nan"), float("inf"), -float("inf"), [1.0, float("nan")], {1, 2}, object()])
def test_figures_that_are_no_numbers(folder: Path, figure: Any) -> None:
    with pytest.raises(ValueError, match=r"vae's figures cannot be recorded .*give finite plain numbers"):
        results.record("vae", "cpu", loss_nats=figure)
    assert not folder.exists()


@pytest.mark.bad_input
def test_chapter_that_is_no_name(folder: Path) -> None:
    for name in ("vae/x", "../x", "", "a b"):
        with pytest.raises(ValueError, match=r"chapter is .*it takes a chapter's file name"):
            results.record(name, "cpu")
    with pytest.raises(ValueError, match="profile is 'fast'"):
        results.record("vae", "fast")
    assert not folder.exists()
