"""Measure the GANs: seeds and losses on the ring, places for the label, `training.fit` against a bare PyTorch loop.

Run from the repository's root: python benchmarks/gan.py, or with the names of parts: python benchmarks/gan.py ring
throughput. The results go to the terminal and, part by part, to aigc_course/benchmarks/gan.json, inside the package,
since the chapters that plot them are also run where there is no repository.
"""

from functools import partial
from pathlib import Path
from typing import Any

import common
import torch
from common import clock, seconds
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from aigc_course import gan, metrics, training
from aigc_course.data import ImageData, RingData, random_affine, ring_centres

TARGET = Path(__file__).parents[1] / "aigc_course" / "benchmarks" / "gan.json"

# --- the ring: what changes is the loss, and how many steps the discriminator has for one of the generator ------------

SEEDS = range(10)
SAMPLES = 10_000
STD = 0.1
RING: dict[str, Any] = {
    "architecture": "dense",
    "generator": {"latent_dim": 2, "shape": [2], "width": 128, "depth": 3},
    "discriminator": {"shape": [2], "width": 128, "depth": 3},
    "game": {
        "generator_lr": 1e-3,
        "discriminator_lr": 1e-3,
        "betas": [0.5, 0.9],
        "penalty": 1.0,
        "ema_decay": 0.99,
        "cool_down": 0.5,
    },
}
R1 = 0.1  # tried before on seeds 100 to 102: 0.01 and 0.1 ended with the same share near a mode, 1 with a lower one
PART, GENERATOR_STEPS = 128, 2500  # points in a step of the discriminator; all variants have this budget
VARIANTS = [("wasserstein", 5), ("non_saturating", 5), ("saturating", 5), ("non_saturating", 1), ("saturating", 1)]
MORE_VARIANTS = [("hinge", 1, 0.0), ("non_saturating", 1, R1)]
# Said before anything was run: a run fails if it misses a mode or more than half of its samples are near none.
FEWEST_MODES, SMALLEST_SHARE = 8, 0.5


def one_ring(loss: str, steps: int, seed: int, r1: float = 0.0) -> dict[str, float]:
    """Train on the ring from this seed; return how many modes are found and the share of samples near any."""
    torch.manual_seed(seed)
    game = {**RING["game"], "loss": loss, "discriminator_steps": steps, "r1": r1}
    model = gan.build(**{**RING, "game": game})
    data = RingData(batch_size=PART * steps, batches=100, std=STD)
    start = clock()
    training.fit(model, data, max_epochs=GENERATOR_STEPS // 100, seed=seed, enable_progress_bar=False)
    cpu_seconds = seconds(start, clock())[1]
    modes, share = metrics.ring_coverage(model.sample(SAMPLES), ring_centres(), STD)
    return {"seed": seed, "modes_found": modes, "share": round(share, 4), "cpu_seconds": round(cpu_seconds, 1)}


def ten_seeds(loss: str, steps: int, r1: float = 0.0) -> dict[str, Any]:
    """Train one variant from every seed, and count the failures."""
    name = f"{loss}, {steps} steps" + (f", R1 {r1}" if r1 else "")
    runs = []
    for seed in SEEDS:
        runs.append(one_ring(loss, steps, seed, r1))
        print(f"{name}: " + "  ".join(f"{k} {v}" for k, v in runs[-1].items()), flush=True)
    failures = sum(run["modes_found"] < FEWEST_MODES or run["share"] < SMALLEST_SHARE for run in runs)
    print(f"{name}: {failures} of {len(runs)} runs fail", flush=True)
    bound = {"r1": r1} if r1 else {}
    return {"loss": loss, "discriminator_steps": steps, **bound, "failures": failures, "runs": runs}


def ring() -> dict[str, Any]:
    """Train with each of the first three losses from every seed."""
    return {
        "settings": RING,
        "points_in_a_step": PART,
        "generator_steps": GENERATOR_STEPS,
        "samples": SAMPLES,
        "fails": f"modes_found < {FEWEST_MODES} or share < {SMALLEST_SHARE}",
        "variants": [ten_seeds(*variant) for variant in VARIANTS],
    }


def ring_more() -> dict[str, Any]:
    """Do the same with the hinge loss, and with R1; the settings are those of `ring`."""
    return {"settings": RING, "variants": [ten_seeds(*variant) for variant in MORE_VARIANTS]}


# --- where the label goes in: one change a row against the chapter's conditional GAN ----------------------------------

CONDITIONING_EPOCHS = 20
PLACES = {  # setting: (generator's conditioning, discriminator's)
    "projection": ("batch_norm", "projection"),
    "concatenating D": ("batch_norm", "concatenation"),
    "concatenating G": ("concatenation", "projection"),
    "both concatenating": ("concatenation", "concatenation"),
    "blind D": ("batch_norm", "blind"),
}


class Blind(gan.ConvDiscriminator):
    """A discriminator that is told the same label for every picture."""

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Return one logit a picture, whatever the labels."""
        assert labels is not None
        return super().forward(x, torch.zeros_like(labels))


def one_conditional(setting: str, seed: int, data: ImageData) -> dict[str, Any]:
    """Train a conditional GAN from this seed; return what the judge says of samples asked for evenly."""
    recipe = gan.recipe("conditional", "cpu")
    of_generator, of_discriminator = PLACES[setting]
    network: type[gan.ConvDiscriminator] = gan.ConvDiscriminator
    if of_discriminator == "blind":
        network, of_discriminator = Blind, "projection"
    torch.manual_seed(seed)
    model = gan.GAN(
        gan.ConvGenerator(**recipe["model"]["generator"], conditioning=of_generator),
        network(**recipe["model"]["discriminator"], conditioning=of_discriminator),
        **recipe["model"]["game"],
    )
    fit = {**recipe["fit"], "max_epochs": CONDITIONING_EPOCHS, "seed": seed, "enable_progress_bar": False}
    training.fit(model, data, **fit)
    torch.manual_seed(0)
    labels = torch.arange(2000) % 10
    pictures = (model.sample(2000, labels.to(model.device)).cpu() + 1) / 2
    right = metrics.judge_probabilities(pictures).argmax(dim=1) == labels
    held_out = torch.cat([data.split("validation")[0], data.split("test")[0]])
    distance = metrics.judge_frechet_distance(pictures[:1000], data.split("train")[0])
    return {
        "setting": setting,
        "seed": seed,
        "judge_accuracy": round(right.double().mean().item(), 4),
        "judge_frechet_distance": round(distance, 3),
        "recall": round(metrics.precision_recall(pictures[:1000], held_out).recall, 4),
    }


def conditioning() -> dict[str, Any]:
    """Try each way to tell the networks the label, from three seeds."""
    data = ImageData(**gan.recipe("conditional", "cpu")["data"])
    rows = []
    for setting in PLACES:
        for seed in range(3):
            rows.append(one_conditional(setting, seed, data))
            print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    return {"epochs": CONDITIONING_EPOCHS, "judge": metrics.JUDGE_SHA256[:8], "rows": rows}


# --- what Lightning costs ---------------------------------------------------------------------------------------------

PAIRS, EPOCHS = 9, 3


def with_fit(data: ImageData, settings: dict[str, Any]) -> tuple[float, float]:
    """Train the way the chapters do."""
    return common.seconds_with_fit(gan.build(**settings["model"]), data, EPOCHS)


def with_bare_loop(data: ImageData, settings: dict[str, Any]) -> tuple[float, float]:
    """Do the same with nothing but PyTorch."""
    model = gan.build(**settings["model"]).to(common.DEVICE)
    generator, discriminator = model.generator, model.discriminator
    average = get_ema_multi_avg_fn(settings["model"]["game"]["ema_decay"])
    averaged = AveragedModel(generator, multi_avg_fn=average, use_buffers=True)
    loader = data.train_dataloader()
    total = (1 + EPOCHS) * len(loader)
    share = model.cool_down
    optimizers, schedules = [], []
    for player, rate in ((discriminator, model.discriminator_lr), (generator, model.generator_lr)):
        optimizers.append(torch.optim.Adam(player.parameters(), rate, model.betas))
        schedules.append(LambdaLR(optimizers[-1], lambda step: min(1.0, (1 - step / total) / share)))

    def seen(x: torch.Tensor) -> torch.Tensor:
        return random_affine(x + 1, **model.augmentation) - 1

    def take_step(player: int, loss: torch.Tensor) -> None:
        optimizers[player].zero_grad()
        weights = [weight for group in optimizers[player].param_groups for weight in group["params"]]
        loss.backward(inputs=weights)
        optimizers[player].step()
        schedules[player].step()

    start = clock()
    for epoch in range(1 + EPOCHS):
        if epoch == 1:
            start = clock()
        for images, _ in loader:
            images = 2 * images.to(common.DEVICE) - 1
            with torch.no_grad():
                fake = seen(generator(torch.randn(len(images), model.latent_dim, device=common.DEVICE)))
            take_step(0, gan.discriminator_loss(discriminator(seen(images)), discriminator(fake)))
            fake = seen(generator(torch.randn(len(images), model.latent_dim, device=common.DEVICE)))
            take_step(1, gan.non_saturating_loss(discriminator(fake)))
            averaged.update_parameters(generator)
    return seconds(start, clock())


def throughput() -> dict[str, Any]:
    """Train the chapter's DCGAN both ways, alternately."""
    settings = gan.recipe("dcgan")
    data = ImageData(**settings["data"])
    amount = EPOCHS * len(data.split("train")[0])
    return common.throughput(
        partial(with_fit, data, settings), partial(with_bare_loop, data, settings), amount=amount, pairs=PAIRS
    )


PARTS = {"ring": ring, "ring_more": ring_more, "conditioning": conditioning, "throughput": throughput}


if __name__ == "__main__":
    common.run_parts(PARTS, "gan.py", TARGET)
