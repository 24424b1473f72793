"""The course's diffusion model with guidance, for as long as the budget allows."""

import torch
from torch import Tensor, nn

from aigc_course import diffusion

STEPS, BATCH, CHANNELS, GUIDANCE = 6_200, 16, 32, 2.0


class Drawer(nn.Module):
    def __init__(self, model: diffusion.Diffusion) -> None:
        super().__init__()
        assert model.averaged is not None
        model.network, model.averaged = model.averaged.module, None  # the average is what draws
        self.model = model

    def draw(self, labels: Tensor) -> Tensor:
        noise = torch.randn(len(labels), 1, 28, 28)
        x = diffusion.ddim(self.model.guess(labels, GUIDANCE), self.model.path, noise, 20, eta=1.0)
        return (x.clamp(-1, 1) + 1) / 2


def train(pictures: Tensor, labels: Tensor, seed: int, steps: int = STEPS) -> nn.Module:
    torch.manual_seed(seed)
    network = diffusion.UNet((1, 28, 28), channels=CHANNELS, num_classes=10)
    model = diffusion.Diffusion(network, ema_decay=0.998)
    assert model.averaged is not None
    optimizer = torch.optim.Adam(network.parameters(), 2e-3, (0.9, 0.99), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 200, 1 - step / steps))
    for _ in range(steps):
        chosen = torch.randint(len(pictures), (BATCH,))
        told = torch.where(torch.rand(BATCH) < 0.1, 10, labels[chosen])
        loss = model.loss(2 * pictures[chosen] - 1, told)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        model.averaged.update_parameters(network)
    return Drawer(model)
