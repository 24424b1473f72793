r"""Flow matching on digits, and one step instead of many.

The flow is a `diffusion.Diffusion` on the straight path $x_t = (1 - t)\,x_0 + t\,\epsilon$ that predicts the velocity:
the same network, the same loop. `Consistency` goes on from its weights. Sources: Lipman et al. (2023),
https://arxiv.org/abs/2210.02747; Liu, Gong and Liu (2023), https://arxiv.org/abs/2209.03003; Song et al. (2023),
https://arxiv.org/abs/2303.01469.
"""

import copy
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import diffusion, training
from aigc_course.checks import check_count
from aigc_course.data import ImageData


def end(
    network: nn.Module, x: Float[Tensor, "batch ..."], t: Float[Tensor, " batch"], labels: Int[Tensor, " batch"] | None
) -> Float[Tensor, "batch ..."]:
    r"""Return $f(x, t) = x - t\,v(x, t)$, the end at time 0 of a straight line with the velocity that is predicted."""
    return x - diffusion.beside(t, x) * network(x, t, labels)


class Consistency(diffusion.Diffusion):
    r"""A trained flow that learns where its paths end, so that one call of the network draws an example.

    The velocity at a point names an end, $f(x, t) = x - t\,v(x, t)$, which is right if the rest of the path is
    straight. Here the network learns to be right on paths that bend. All points of one path have the same end, so two
    neighbours on it must name the same. With times $t$ on a grid of `steps` steps, $r = t - 1/\text{steps}$, and the
    velocity $v_{\text{flow}}$ of the flow as it was given, which stays as it is, the loss is

    $$\mathbb E_{t, x_0, \epsilon}\, \big\| f_\theta(x_t, t) - f_{\theta}(x_r, r) \big\|^2, \qquad
      x_r = x_t - (t - r)\, v_{\text{flow}}(x_t, t),$$

    the mean over the numbers of an example. No gradient goes through the second term. At $r = 0$ it is $x_r$ itself:
    there the ends are known, and from there they spread to later times. Source: Song et al. (2023), consistency
    distillation, with Euler's method, the squared distance, and no average of the weights in the target.

    One step of `diffusion.ddim` draws: at $t = 1$ the guess of $x_0$ is $f(x, 1)$.

    **Arguments:** as `Diffusion`, and

    - `network`: that of a flow, trained on the straight path to predict the velocity; training goes on from there.
    - `steps`: the number of steps of the grid, at least 1.

    Raises `ValueError` as `Diffusion` does, and for `steps` that are not a whole number of at least 1.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        steps: int = 8,
        learning_rate: float = 1e-3,
        ema_decay: float = 0.99,
        untold: float = 0.1,
    ) -> None:
        super().__init__(
            network,
            path="straight",
            prediction="velocity",
            learning_rate=learning_rate,
            ema_decay=ema_decay,
            untold=untold,
        )
        # A checkpoint is to hold the arguments of this class, not those that it fixes for `Diffusion`.
        self.save_hyperparameters(ignore=["network"])
        self.keep_networks(network=network)
        for fixed in ("path", "prediction"):
            del self.hparams[fixed]
        check_count("steps", steps)
        self.steps = steps
        self.flow = copy.deepcopy(network).requires_grad_(False)

    def loss(self, x: Float[Tensor, "batch ..."], labels: Int[Tensor, " batch"] | None = None) -> Float[Tensor, ""]:
        """Return the loss of these examples at times and with noise drawn from PyTorch's global generator."""
        place = torch.randperm(len(x), device=x.device) % self.steps  # every batch sees all of the path
        r, t = (place / self.steps).to(x), ((place + 1) / self.steps).to(x)
        x_t = self.path.noisy(x, t, torch.randn_like(x))
        with torch.no_grad():
            x_r = x_t - self.flow(x_t, t, labels) / self.steps
            target = end(self.network, x_r, r, labels)
        return F.mse_loss(end(self.network, x_t, t, labels), target)


# --- the models of the chapter ----------------------------------------------------------------------------------------


def recipe(profile: str = "auto") -> dict[str, Any]:
    """Return all that decides the flow of digits: `diffusion.recipe` with the straight path.

    Raises `ValueError` for an unknown profile.
    """
    settings = diffusion.recipe(profile)
    settings["model"]["path"] = "straight"
    return settings


def train(profile: str = "auto") -> tuple[diffusion.Diffusion, dict[str, list[float]]]:
    """Train the flow by its recipe and put it into the cache; return it with its curve (see `training.fit`)."""
    model, history = training.trained_by(recipe(profile), "flow", diffusion.build, ImageData, retrain=True)
    return cast(diffusion.Diffusion, model), history


def pretrained(profile: str = "auto") -> diffusion.Diffusion:
    """Return the flow of the recipe: from the cache, else trained first (see `training.trained_by`)."""
    return cast(diffusion.Diffusion, training.trained_by(recipe(profile), "flow", diffusion.build, ImageData)[0])


def build(flow: dict[str, Any], **settings: Any) -> Consistency:
    """Return a `Consistency` that begins at the averaged weights of the flow with the recipe `flow`."""
    trained = cast(diffusion.Diffusion, training.trained_by(flow, "flow", diffusion.build, ImageData)[0])
    return Consistency(trained.network if trained.averaged is None else trained.averaged.module, **settings)


def consistency_recipe(profile: str = "auto") -> dict[str, Any]:
    """Return all that decides the model that draws in one step, the recipe of its flow included.

    Raises `ValueError` for an unknown profile.
    """
    profile, flow = training.resolve_profile(profile), recipe(profile)
    return {
        "data": flow["data"],
        "model": {
            "flow": flow,
            "steps": 8,
            "learning_rate": {"smoke": 1e-3, "cpu": 1e-3, "gpu": 5e-4}[profile],
            "ema_decay": {"smoke": 0.9, "cpu": 0.99, "gpu": 0.999}[profile],
            "untold": 0.1,
        },
        "fit": {"max_epochs": {"smoke": 1, "cpu": 8, "gpu": 100}[profile], "seed": 0},
    }


def train_consistency(profile: str = "auto") -> tuple[Consistency, dict[str, list[float]]]:
    """Train the model that draws in one step and put it into the cache; return it with its curve."""
    model, history = training.trained_by(consistency_recipe(profile), "consistency", build, ImageData, retrain=True)
    return cast(Consistency, model), history


def pretrained_consistency(profile: str = "auto") -> Consistency:
    """Return the model that draws in one step: from the cache, else trained first (see `training.trained_by`)."""
    return cast(Consistency, training.trained_by(consistency_recipe(profile), "consistency", build, ImageData)[0])
