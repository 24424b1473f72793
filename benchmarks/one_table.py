"""Measure every family of the course on the same digits with the same ruler, each from three seeds.

Run from the repository's root: python benchmarks/one_table.py, or with the names of models: python
benchmarks/one_table.py vae dcgan. Each model is trained by its recipe of the `cpu` profile, and its rows go to the
terminal and into aigc_course/benchmarks/one_table.json, which the chapter "One table" reads. AIGC_COURSE_PROFILE=smoke
tries the code on models of nothing.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import common
import pytorch_lightning as pl
import torch
from common import clock, seconds
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from aigc_course import diffusion, flow_matching, gan, likelihood, metrics, mixture, training, vae, vector_quantised
from aigc_course.data import ImageData
from aigc_course.gpt import GPT

TARGET = Path(__file__).parents[1] / "aigc_course" / "benchmarks" / "one_table.json"
PROFILE = os.environ.get("AIGC_COURSE_PROFILE", "cpu")
SEEDS, SAMPLES = range(3), 1_000 if PROFILE != "smoke" else 100
Drawn = Callable[[int], Tensor]


class Trained(NamedTuple):
    """A trained model: how it draws n pictures, values in [0, 1]; its weights; what its training took.

    `nats` is its mean of -log p of a test picture, or a bound from above, with `nats_of` saying of what.
    """

    draw: Drawn
    parameters: int
    cpu_seconds: float
    operations: float
    data: str = "digits"
    nats: float | None = None
    nats_of: str = ""


def count(*networks: nn.Module) -> int:
    return sum(weight.numel() for network in networks for weight in network.parameters())


def fitted(build: Callable[[], pl.LightningModule], make: Callable[[], Any], fit: dict[str, Any], seed: int) -> Any:
    """Train a model; return it with the CPU seconds and the operations, those of a few batches times their number."""
    fit = {**fit, "seed": seed, "enable_progress_bar": False}
    torch.manual_seed(seed)
    model, data = build(), make()
    start = clock()
    training.fit(model, data, **fit)
    cpu_seconds = seconds(start, clock())[1]
    batches, few = len(data.train_dataloader()), 4
    short = {**fit, "max_epochs": 1, "limit_train_batches": few, "limit_val_batches": 0}
    torch.manual_seed(seed)
    with common.Operations() as counter:
        training.fit(build(), data, **short)
    return model, cpu_seconds, counter.total * batches / few * fit["max_epochs"]


def by_recipe(recipe: dict[str, Any], build: Callable[..., pl.LightningModule], seed: int) -> tuple[Any, float, float]:
    return fitted(lambda: build(**recipe["model"]), lambda: ImageData(**recipe["data"]), recipe["fit"], seed)


# --- the families -----------------------------------------------------------------------------------------------------


def gaussian_mixture(seed: int) -> Trained:
    """Ten normal distributions per class would be many numbers: the mixture lives in the first principal components."""
    x = ImageData("digits").split("train")[0].flatten(1).double()
    start, mean, dimensions, components = clock(), x.mean(dim=0), 24, 20
    _, _, axes = torch.linalg.svd(x - mean, full_matrices=False)
    axes = axes[:dimensions]
    steps = 3 if PROFILE == "smoke" else 200
    fit, history = mixture.fit_em((x - mean) @ axes.T, components, seed=seed, reg_covar=1e-3, max_steps=steps)
    parameters = axes.numel() + mean.numel() + components * (1 + dimensions + dimensions * (dimensions + 1) // 2)
    work = (len(history) - 1) * len(x) * components * 6 * dimensions**2  # distances, and the covariances

    def draw(n: int) -> Tensor:
        return ((fit.sample(n).double() @ axes + mean).clamp(0, 1).float()).view(n, 1, 28, 28)

    return Trained(draw, parameters, seconds(start, clock())[1], float(work))


def variational(seed: int) -> Trained:
    model, cpu_seconds, operations = by_recipe(vae.recipe(PROFILE), vae.VAE, seed)
    return Trained(model.sample, count(model), cpu_seconds, operations)


def vector_quantised_with_prior(seed: int) -> Trained:
    model, codes_seconds, codes_operations = by_recipe(vector_quantised.recipe(PROFILE), vector_quantised.VQVAE, seed)
    recipe, digits, sets = vector_quantised.prior_recipe(PROFILE), ImageData("digits"), {}
    for split in ("train", "validation"):
        x, labels = digits.split(split)
        rows = vector_quantised.code_rows(model.encode(x), labels, model.num_codes)
        sets[split] = TensorDataset(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())

    class Codes(pl.LightningDataModule):
        def train_dataloader(self) -> DataLoader[Any]:
            return DataLoader(sets["train"], batch_size=recipe["data"]["batch_size"], shuffle=True)

        def val_dataloader(self) -> DataLoader[Any]:
            return DataLoader(sets["validation"], batch_size=recipe["data"]["batch_size"])

    def build() -> pl.LightningModule:
        return vector_quantised.build_prior(**recipe["model"])

    prior, prior_seconds, prior_operations = fitted(build, Codes, recipe["fit"], seed)
    network: GPT = prior.model

    def draw(n: int) -> Tensor:
        return vector_quantised.sample(model, network, torch.arange(n) % 10)

    total = codes_seconds + prior_seconds, codes_operations + prior_operations
    return Trained(draw, count(model, network), *total)


def adversarial(recipe: dict[str, Any], seed: int) -> Trained:
    model, cpu_seconds, operations = by_recipe(recipe, gan.build, seed)

    def draw(n: int) -> Tensor:
        return (model.sample(n) + 1) / 2

    return Trained(draw, count(model.generator, model.discriminator), cpu_seconds, operations)


def wasserstein_recipe() -> dict[str, Any]:
    """As in the chapter on Wasserstein GANs, its section on digits."""
    small = PROFILE == "smoke"
    pictures = {"shape": [1, 28, 28], "channels": 4 if small else 16}
    game = {"loss": "wasserstein", "discriminator_steps": 5, "penalty": 10.0, "betas": (0.5, 0.9)}
    rates = {"generator_lr": 2e-3, "discriminator_lr": 2e-3, "ema_decay": 0.98, "cool_down": 0.5}
    return {
        "data": {"name": "digits", "batch_size": 5 * 32, "signed": True},
        "model": {
            "architecture": "convolutional",
            "generator": {"latent_dim": 64, **pictures, "hidden": 128},
            "discriminator": {**pictures, "normalisation": "none"},
            "game": {**game, **rates},
        },
        "fit": {"max_epochs": 1 if small else 30, "limit_val_batches": 0},
    }


def pixelcnn(seed: int) -> Trained:
    model, cpu_seconds, operations = by_recipe(likelihood.recipe(PROFILE), likelihood.PixelCNN, seed)
    x = ImageData("binary_digits").split("test")[0]
    with torch.no_grad():
        nats = -float(torch.cat([model.log_prob(part) for part in x.split(100)]).mean())
    return Trained(model.sample, count(model), cpu_seconds, operations, "binary_digits", nats, "binary digits, exact")


def flow(seed: int) -> Trained:
    recipe = likelihood.flow_recipe(256, PROFILE)
    model, cpu_seconds, operations = by_recipe(recipe, likelihood.build_flow, seed)
    x = ImageData("digits").split("test")[0]
    nats = -float(torch.cat([model.bound(part, 10) for part in x.split(100)]).mean())
    return Trained(model.sample, count(model), cpu_seconds, operations, nats=nats, nats_of="grey digits, a bound")


def denoising(recipe: dict[str, Any], seed: int) -> Trained:
    """Drawn in 20 steps, with the class and without guidance: the model as it was trained."""
    model, cpu_seconds, operations = by_recipe(recipe, diffusion.build, seed)

    def draw(n: int) -> Tensor:
        labels = torch.arange(n) % 10
        x = diffusion.ddim(model.guess(labels), model.path, torch.randn(n, 1, 28, 28), 20)
        return (x.clamp(-1, 1) + 1) / 2

    return Trained(draw, count(model.network), cpu_seconds, operations)


MODELS: dict[str, tuple[str, Callable[[int], Trained]]] = {
    "mixture": ("Gaussian mixture", gaussian_mixture),
    "vae": ("VAE", variational),
    "vqvae": ("VQ-VAE with prior", vector_quantised_with_prior),
    "dense_gan": ("dense GAN", lambda seed: adversarial(gan.recipe("dense", PROFILE), seed)),
    "dcgan": ("DCGAN", lambda seed: adversarial(gan.recipe("dcgan", PROFILE), seed)),
    "wgan": ("WGAN-GP", lambda seed: adversarial(wasserstein_recipe(), seed)),
    "pixelcnn": ("PixelCNN", pixelcnn),
    "flow": ("RealNVP", flow),
    "diffusion": ("diffusion", lambda seed: denoising(diffusion.recipe(PROFILE), seed)),
    "flow_matching": ("flow matching", lambda seed: denoising(flow_matching.recipe(PROFILE), seed)),
}


# --- the ruler --------------------------------------------------------------------------------------------------------


def measured(x: Tensor, data: str) -> dict[str, float]:
    """Compare pictures with those that the model learnt from, and their distance to these with that of new ones."""
    real, held_out = (ImageData(data).split(split)[0] for split in ("train", "test"))
    features, known = metrics.judge_features(x), metrics.judge_features(real)
    again = metrics.judge_features(real[torch.randperm(len(real))[: len(x)]])
    precision, recall = metrics.neighbour_precision_recall(features, again)
    density, coverage = metrics.neighbour_density_coverage(features, again)
    figures = {
        "frechet": metrics.frechet_distance(features, known),
        "kernel": metrics.kernel_distance(features, known),
        "precision": precision,
        "recall": recall,
        "density": density,
        "coverage": coverage,
        "confident_share": metrics.confident_share(x),
        "nearest": float(metrics.nearest(x, real).distances.median()),
        "nearest_held_out": float(metrics.nearest(held_out, real).distances.median()),
    }
    return {name: round(value, 4) for name, value in figures.items()}


def one_run(train: Callable[[int], Trained], seed: int) -> dict[str, Any]:
    model = train(seed)
    torch.manual_seed(1_000 + seed)
    start = clock()
    x = model.draw(SAMPLES)
    drawing = seconds(start, clock())[1]
    return {
        "seed": seed,
        "parameters": model.parameters,
        "training_cpu_seconds": round(model.cpu_seconds, 1),
        "training_operations": model.operations,
        "cpu_seconds_per_100": round(100 * drawing / SAMPLES, 4),
        **measured(x, model.data),
        "nats": None if model.nats is None else round(model.nats, 2),
        "nats_of": model.nats_of,
        "data": model.data,
    }


def floor() -> dict[str, list[float]]:
    """Return the Fréchet distance of as many real digits as are drawn from the others, mean and deviation of splits."""
    found = {}
    for data in ("digits", "binary_digits"):
        x = torch.cat([ImageData(data).split(split)[0] for split in ("train", "validation", "test")])
        distances = metrics.floor_distances(metrics.judge_features(x), SAMPLES)
        found[data] = [round(float(distances.mean()), 3), round(float(distances.std()), 3)]
    return found


def main() -> None:
    chosen = sys.argv[1:] or list(MODELS)
    if unknown := [name for name in chosen if name not in MODELS]:
        raise SystemExit(f"There is no model {unknown[0]!r}; there are {', '.join(MODELS)}.")
    for name in chosen:
        title, train = MODELS[name]
        runs = []
        for seed in SEEDS:
            runs.append(one_run(train, seed))
            print(f"{title}: {json.dumps(runs[-1])}", flush=True)
        if PROFILE == "smoke":
            continue
        table = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {"rows": {}}
        made = common.circumstances(f"python benchmarks/one_table.py {name}")
        table["rows"][name] = {"model": title, **made, "runs": runs}
        rows = {each: table["rows"][each] for each in MODELS if each in table["rows"]}
        common.write(TARGET, {"samples": SAMPLES, "floor": floor(), "rows": rows})


if __name__ == "__main__":
    main()
