"""Find out whether the course runs on this machine's GPU: every recipe for a few steps, every chapter in `smoke`.

    python tools/gpu_check.py                          all of it, one line per item; status 1 if something failed
    python tools/gpu_check.py --only dcgan gan/dcgan   these items only
    python tools/gpu_check.py --device cpu --only vae  without a GPU: does this script work?

The recipes have their sizes of the profile `gpu` and train deterministically, as `fit` does everywhere: an operation
without a deterministic version on CUDA is an error here, and nowhere else. The chapters take whatever device there is.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from aigc_course import diffusion, dqn, gan, gpt, likelihood, recurrent, text_to_image, training, vae, vector_quantised
from aigc_course.data import ImageData, TextData
from book import chapters

ROOT = Path(__file__).resolve().parent.parent
BATCHES = 10
Made = tuple[pl.LightningModule, Any, dict[str, Any]]


def _made(model: Callable[..., pl.LightningModule], data: Callable[..., Any], recipe: dict[str, Any]) -> Made:
    return model(**recipe["model"]), data(**recipe["data"]), recipe["fit"]


def _agent(name: str) -> Made:
    recipe = dqn.recipe(name, "gpu")
    # The first steps only fill the buffer; here they shall be updates.
    recipe["agent"]["learning_starts"] = 64
    games = dqn.Games(**{**recipe["games"], "evaluation_episodes": 0, "capacity": 10_000})
    return dqn.build(recipe, games), games, recipe["fit"]


def _of_captions(name: str) -> Made:
    recipe = text_to_image.recipe(name, "gpu")
    if name == "text_to_image":
        recipe["model"]["profile"] = "smoke"  # whose text encoder would be trained first
    return _made(text_to_image.BUILDERS[name], text_to_image.SceneData, recipe)


RECIPES: dict[str, Callable[[], Made]] = {
    "vae": lambda: _made(vae.VAE, ImageData, vae.recipe("gpu")),
    "vqvae": lambda: _made(vector_quantised.VQVAE, ImageData, vector_quantised.recipe("gpu")),
    "dense": lambda: _made(gan.build, ImageData, gan.recipe("dense", "gpu")),
    "dcgan": lambda: _made(gan.build, ImageData, gan.recipe("dcgan", "gpu")),
    "conditional": lambda: _made(gan.build, ImageData, gan.recipe("conditional", "gpu")),
    "diffusion": lambda: _made(diffusion.build, ImageData, diffusion.recipe("gpu")),
    "pixelcnn": lambda: _made(likelihood.PixelCNN, ImageData, likelihood.recipe("gpu")),
    "realnvp": lambda: _made(likelihood.build_flow, ImageData, likelihood.flow_recipe(256, "gpu")),
    "lstm": lambda: _made(recurrent.RecurrentLanguageModel, recurrent.StreamData, recurrent.recipe("gpu")),
    "gpt": lambda: _made(gpt.build, TextData, gpt.recipe("gpu")),
    "cartpole": lambda: _agent("cartpole"),
    "breakout": lambda: _agent("breakout"),
    "pong": lambda: _agent("pong"),
    **{name: partial(_of_captions, name) for name in text_to_image.MODELS},
}


def check_recipe(name: str, device: str) -> str:
    """Train a few steps; return what went wrong, or nothing."""
    try:
        model, data, options = RECIPES[name]()
        short = {"max_epochs": 1, "limit_train_batches": BATCHES, "limit_val_batches": 1, "accelerator": device}
        training.fit(model, data, **{**options, **short, "enable_progress_bar": False})
    except Exception as error:  # whatever it is, the others are tried too
        return f"{type(error).__name__}: {error}"
    return ""


def check_chapter(name: str, folder: Path) -> str:
    """Run a chapter in `smoke`; return what went wrong, or nothing."""
    program = [sys.executable, str(ROOT / "tools" / "chapter.py"), "run", str(ROOT / "notebooks" / f"{name}.py")]
    target = str(folder / f"{name}.ipynb")
    done = subprocess.run([*program, target, "--profile", "smoke"], text=True, capture_output=True)
    return "" if done.returncode == 0 else (done.stdout + done.stderr).strip()


def main() -> int:
    """Read the command line, check, and return how many items failed, 1 at most."""
    everything = [*RECIPES, *chapters()]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--only", nargs="+", choices=everything, default=everything, metavar="ITEM")
    parser.add_argument("--jobs", type=int, default=4, help="chapters that share the GPU at a time (default: 4)")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch sees no CUDA GPU on this machine: nothing was checked.")
    print(f"On {torch.cuda.get_device_name() if options.device == 'cuda' else 'the CPU'}:")
    failed = False

    def report(name: str, problem: str, started: float) -> None:
        nonlocal failed
        failed |= bool(problem)
        print(f"{'FAILED' if problem else 'ok    '} {name} ({time.monotonic() - started:.0f} s) {problem}", flush=True)

    for name in RECIPES:
        if name in options.only:
            started = time.monotonic()
            report(name, check_recipe(name, options.device), started)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:

        def run(name: str) -> None:
            started = time.monotonic()
            report(name, check_chapter(name, Path(folder)), started)

        list(pool.map(run, [name for name in chapters() if name in options.only]))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
