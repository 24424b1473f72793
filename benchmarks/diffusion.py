"""Measure the diffusion model: its training step against that of diffusers' U-Net, and `training.fit` against a loop.

Run from the repository's root: python benchmarks/diffusion.py. The results go to the terminal and to
benchmarks/diffusion.json.
"""

import itertools
from pathlib import Path
from typing import Any

import common
import torch
from common import DEVICE, clock, seconds
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import diffusion
from aigc_course.data import ImageData

PAIRS, STEPS, WARM_UP, EPOCHS = 5, 60, 10, 2


class Peer(nn.Module):
    """diffusers' U-Net for the same task: the same folded pictures, two resolutions, attention at the lower one.

    Its widths at the two are those whose number of weights is nearest to ours.
    """

    def __init__(self, shape: list[int], widths: tuple[int, int], num_classes: int) -> None:
        super().__init__()
        self.num_classes, self.widths, patch = num_classes, widths, diffusion.UNet.PATCH
        self.net: Any = UNet2DModel(
            sample_size=shape[1] // patch,
            in_channels=shape[0] * patch**2,
            out_channels=shape[0] * patch**2,
            block_out_channels=widths,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            attention_head_dim=widths[1] // 4,  # four heads, as ours
            norm_num_groups=8,
            num_class_embeds=num_classes + 1,
        )

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Return one number per pixel; diffusers counts the time in thousandths."""
        folded = F.pixel_unshuffle(x, diffusion.UNet.PATCH)
        said: Tensor = self.net(folded, 1000 * t, labels).sample
        return F.pixel_shuffle(said, diffusion.UNet.PATCH)


def weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def peer_for(network: dict[str, Any]) -> Peer:
    """Return the peer whose number of weights is nearest to that of our network with these arguments."""
    ours = weights(diffusion.UNet(**network))
    several = range(8, 2 * network["channels"] + 1, 8)
    pairs = [pair for pair in itertools.product(several, several) if pair[0] <= pair[1]]

    def difference(widths: tuple[int, int]) -> int:
        return abs(weights(Peer(network["shape"], widths, network["num_classes"])) - ours)

    return Peer(network["shape"], min(pairs, key=difference), network["num_classes"])


def train_bare(network: nn.Module, data: ImageData, settings: dict[str, Any], steps: int) -> tuple[float, float]:
    """Make training steps with nothing but PyTorch; return wall and CPU seconds of all but the first few."""
    model = diffusion.Diffusion(network, **settings).to(DEVICE)
    optimizer = torch.optim.Adam(model.network.parameters(), model.learning_rate, (0.9, 0.99), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, model.learning_rate, WARM_UP + steps, pct_start=0.02)
    batches = itertools.chain.from_iterable(data.train_dataloader() for _ in itertools.count())
    start = clock()
    for step, (x, labels) in enumerate(itertools.islice(batches, WARM_UP + steps)):
        if step == WARM_UP:
            start = clock()
        x, labels = 2 * x.to(DEVICE) - 1, labels.to(DEVICE)
        told = torch.where(torch.rand(len(x), device=DEVICE) < model.untold, 10, labels)
        loss = model.loss(x, told)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        assert model.averaged is not None
        model.averaged.update_parameters(model.network)
    return seconds(start, clock())


def main() -> None:
    recipe = diffusion.recipe("auto")
    network = recipe["model"].pop("network")
    data, images = ImageData(**recipe["data"]), recipe["data"]["batch_size"]
    peer = peer_for(network)

    def ours() -> tuple[float, float]:
        return train_bare(diffusion.UNet(**network), data, recipe["model"], STEPS)

    def theirs() -> tuple[float, float]:
        return train_bare(peer, data, recipe["model"], STEPS)

    def fit_against_bare(batch_size: int) -> dict[str, Any]:
        many = ImageData(**{**recipe["data"], "batch_size": batch_size})
        steps = EPOCHS * len(many.train_dataloader())

        def with_fit() -> tuple[float, float]:
            return common.seconds_with_fit(diffusion.build(network, **recipe["model"]), many, EPOCHS)

        def bare() -> tuple[float, float]:
            return train_bare(diffusion.UNet(**network), many, recipe["model"], steps)

        return common.throughput(with_fit, bare, amount=steps * batch_size, pairs=PAIRS)

    names = ("ours", "diffusers")
    sizes = dict(zip(names, map(weights, (diffusion.UNet(**network), peer)), strict=True))
    print(sizes, flush=True)
    figures = {
        "network": network,
        "weights": sizes,
        "diffusers_widths": peer.widths,
        "ours_against_diffusers": common.throughput(ours, theirs, amount=STEPS * images, pairs=PAIRS, names=names),
        # Lightning costs about a millisecond for a step, which counts for more where a step is short.
        "fit_against_bare": {f"batch_size_{size}": fit_against_bare(size) for size in (images, 4 * images)},
    }
    found = {**common.circumstances("python benchmarks/diffusion.py"), **figures}
    common.write(Path(__file__).with_suffix(".json"), found)


if __name__ == "__main__":
    main()
