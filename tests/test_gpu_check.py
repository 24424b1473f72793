"""The check of a GPU, as far as it can be tried without one."""

import subprocess
import sys
from pathlib import Path

import gpu_check
import pytest
import torch

from aigc_course import dqn, gan, text_to_image

TOOL = Path(gpu_check.__file__)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, TOOL, *arguments], text=True, capture_output=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so_and_fails() -> None:
    done = run("--only", "vae")
    assert done.returncode != 0
    assert "no CUDA GPU" in done.stderr


@pytest.mark.once
def test_a_recipe_and_a_chapter_are_run() -> None:
    done = run("--device", "cpu", "--only", "dense", "foundations/generative_models")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:]] == [
        ["ok", "dense"],
        ["ok", "foundations/generative_models"],
    ]


def test_what_fails_is_named_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> gpu_check.Made:
        raise RuntimeError("no deterministic implementation")

    monkeypatch.setitem(gpu_check.RECIPES, "vae", broken)
    assert gpu_check.check_recipe("vae", "cpu") == "RuntimeError: no deterministic implementation"
    assert gpu_check.check_recipe("cartpole", "cpu") == ""


def test_no_recipe_is_forgotten() -> None:
    for module in (gan, dqn, text_to_image):
        with pytest.raises(ValueError, match="it takes") as error:
            module.recipe("none")
        named = str(error.value).split("it takes ")[1].replace(" or ", ", ").strip(".").split(", ")
        assert {name.strip("'") for name in named} <= gpu_check.RECIPES.keys()
