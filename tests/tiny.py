"""A tiny model of every family that `fit` trains, and data for each: what the tests of `fit`'s promises run over."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from aigc_course import (
    diffusion,
    dqn,
    gan,
    gpt,
    likelihood,
    lora,
    mixture,
    recurrent,
    text_to_image,
    vae,
    vector_quantised,
)

DENSE: dict[str, Any] = {"shape": (1, 28, 28), "width": 8, "depth": 1}
CONVOLUTIONAL: dict[str, Any] = {"shape": (1, 28, 28), "channels": 2, "hidden": 8}
CLASSES: dict[str, Any] = CONVOLUTIONAL | {"num_classes": 10}
SMALL: dict[str, Any] = {"latent_dim": 3, "channels": 2, "width": 8}
WORDS: dict[str, Any] = {"features": 8, "width": 8, "layers": 1, "heads": 2}
TURNED = {"rotate": 10.0, "shift": 1.0}


def _gpt(**options: Any) -> gpt.GPT:
    return gpt.GPT(gpt.GPTConfig(11, 6, **{"layers": 2, "heads": 2, "width": 8, "dropout": 0.2, **options}))


def _start() -> mixture.GaussianMixture:
    return mixture.GaussianMixture(torch.tensor([0.4, 0.6]), torch.randn(2, 2), torch.eye(2).repeat(2, 1, 1))


def _agent(**options: Any) -> dqn.DQN:
    settings = {"steps": 4, "updates": 3, "batch_size": 8, "learning_starts": 8, "target_interval": 4, **options}
    return dqn.DQN(dqn.DenseQNetwork((4,), 2, width=8), **settings)


def _game(generator: Any, discriminator: Any, **options: Any) -> gan.GAN:
    return gan.GAN(generator, discriminator, **{"ema_decay": 0.5, "cool_down": 0.5, **options})


MODELS: dict[str, Callable[[], pl.LightningModule]] = {
    "autoencoder": lambda: vae.Autoencoder(**SMALL),
    "vae": lambda: vae.VAE(**SMALL, beta=0.5),
    "conditional_vae": lambda: vae.VAE(**SMALL, num_classes=10),
    "vqvae": lambda: vector_quantised.VQVAE(5, 3, channels=2),
    "dense_gan": lambda: _game(
        gan.DenseGenerator(3, **DENSE, normalise=True),
        gan.DenseDiscriminator(**DENSE, spectral=True),
        discriminator_steps=2,
        augmentation=TURNED,
    ),
    "saturating_gan": lambda: _game(
        gan.ConvGenerator(3, **CONVOLUTIONAL), gan.ConvDiscriminator(**CONVOLUTIONAL), loss="saturating"
    ),
    "wasserstein_gan": lambda: _game(
        gan.ConvGenerator(3, **CONVOLUTIONAL),
        gan.ConvDiscriminator(**CONVOLUTIONAL, normalisation="none"),
        loss="wasserstein",
    ),
    "conditional_gan": lambda: _game(
        gan.ConvGenerator(3, **CLASSES), gan.ConvDiscriminator(**CLASSES, normalisation="spectral"), augmentation=TURNED
    ),
    "diffusion": lambda: diffusion.Diffusion(diffusion.UNet((1, 28, 28), 8), ema_decay=0.5),
    "conditional_diffusion": lambda: diffusion.Diffusion(diffusion.UNet((1, 28, 28), 8, 10), prediction="clean"),
    "pixelcnn": lambda: likelihood.PixelCNN(channels=2, layers=2),
    "realnvp": lambda: likelihood.RealNVP(torch.full((2, 1, 28, 28), 0.5), couplings=2, width=2),
    "gpt": lambda: gpt.NextTokenTraining(_gpt()),
    "gpt2": lambda: gpt.NextTokenTraining(_gpt(**gpt.GPT2)),
    "adapters": lambda: gpt.NextTokenTraining(lora.add_adapters(_gpt(), 2)),
    "lstm": lambda: recurrent.RecurrentLanguageModel(11, width=8, layers=2, dropout=0.2),
    "contrastive": lambda: text_to_image.build_contrastive({"features": 8, "channels": 8}, WORDS),
    "reader": lambda: text_to_image.build_reader(17, 8),
    "text_to_image": lambda: text_to_image.TextToImage(
        text_to_image.TextUNet((1, 28, 28), 8, 8, 8), text_to_image.TextEncoder(**WORDS), ema_decay=0.5
    ),
    "mixture": lambda: mixture.GradientMixture(_start()),
    "dqn": lambda: _agent(ema_decay=0.5, decay=True),
}


def model(name: str) -> pl.LightningModule:
    """Return the family's tiny model, with the same weights each time."""
    torch.manual_seed(0)
    return MODELS[name]()


def _tensors(name: str) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    if name in ("gpt", "gpt2", "adapters", "lstm"):
        tokens = torch.randint(11, (12, 7))
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    if name == "mixture":
        return torch.randn(12, 2), torch.zeros(12)
    images = torch.rand(12, 1, 28, 28)
    if name in ("pixelcnn", "realnvp"):
        images = images.round()
    if name in ("contrastive", "reader", "text_to_image"):
        rows = text_to_image.combinations()[:12]
        captions = text_to_image.tokens_of([text_to_image.caption(row) for row in rows])
        return (2 * images - 1 if name == "text_to_image" else images), (rows if name == "reader" else captions)
    return 2 * images - 1 if "gan" in name or "diffusion" in name else images, torch.arange(12) % 10


def loader(name: str, **options: Any) -> DataLoader[Any]:
    """Return batches of four examples for the family, twelve in all."""
    # A recurrent network reads its chunks in order.
    return DataLoader(TensorDataset(*_tensors(name)), **{"batch_size": 4, "shuffle": name != "lstm", **options})


def data(name: str) -> Any:
    """Return training data for the family: games for an agent, else a loader."""
    if name == "dqn":
        return dqn.Games("CartPole-v1", count=2, capacity=64, chunks=3, evaluation_episodes=2)
    return loader(name)
