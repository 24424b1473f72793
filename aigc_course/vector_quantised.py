r"""Vector-quantised autoencoders: a picture as a short row of whole numbers, and a prior that writes such rows.

The module reads like the paper: the nearest code, the gradient that passes it, the codebook and its care, the model,
the prior over its codes, the recipes. Source: van den Oord, Vinyals and Kavukcuoglu (2017), "Neural Discrete
Representation Learning", https://arxiv.org/abs/1711.00937. The prior is the course's own GPT.

Shapes: a picture has `places` (7 × 7 = 49 in a picture of 28 × 28), each with a vector of `dim` numbers and, once that
is quantised, with a code, a whole number below `num_codes`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from aigc_course import training
from aigc_course.checks import (
    OTHER_SHAPES,
    check_count,
    check_not_negative,
    check_pictures,
    check_positive,
    check_tokens,
)
from aigc_course.data import ImageData
from aigc_course.gpt import GPT, GPTConfig, NextTokenTraining, next_token_probabilities
from aigc_course.vae import active, bernoulli_log_likelihood

# --- the nearest code -------------------------------------------------------------------------------------------------


def nearest_codes(z: Float[Tensor, "*batch dim"], codebook: Float[Tensor, "codes dim"]) -> Int[Tensor, "*batch"]:
    r"""Return for each vector the number of the code that is nearest to it, $\arg\min_k \lVert z - e_k \rVert^2$.

    Since $\lVert z - e_k \rVert^2 = \lVert z \rVert^2 - 2\, z^\top e_k + \lVert e_k \rVert^2$, and the first term is
    the same for all codes, one product of matrices is enough. Of codes that are equally near the first is taken.
    """
    return (codebook.square().sum(dim=1) - 2 * z.detach() @ codebook.detach().T).argmin(dim=-1)


def straight_through(
    z: Float[Tensor, "*batch dim"], chosen: Float[Tensor, "*batch dim"]
) -> Float[Tensor, "*batch dim"]:
    r"""Return the vectors `chosen`, whose gradient goes to `z` as if they were `z`: $z + \mathrm{sg}[e - z]$.

    The stop-gradient $\mathrm{sg}$ hands its argument on and counts as a constant in derivatives. Bengio, Léonard and
    Courville (2013), https://arxiv.org/abs/1308.3432; van den Oord et al. (2017), section 3.2.
    """
    return z + (chosen - z).detach()


def code_usage(codes: Int[Tensor, "*batch"], num_codes: int) -> Float[Tensor, " num_codes"]:
    """Return the share of each code among `codes`; the shares sum to 1.

    Raises `ValueError` for no codes and for codes that are not whole numbers from 0 to `num_codes` - 1.
    """
    check_count("num_codes", num_codes)
    if codes.numel() == 0:
        raise ValueError("there are no codes; the shares take at least one.")
    check_tokens(codes, num_codes)
    return F.one_hot(codes.flatten(), num_codes).float().mean(dim=0)


def code_perplexity(shares: Float[Tensor, " codes"]) -> Float[Tensor, ""]:
    r"""Return the perplexity of shares that sum to 1: how many codes, equally frequent, would be as hard to guess.

    $$\exp\Big(-\sum_k p_k \log p_k\Big)$$

    It is K if all K codes are equally frequent, and 1 if there is only one.

    Raises `ValueError` for shares that are negative or do not sum to 1.
    """
    if not (bool((shares >= 0).all()) and abs(float(shares.sum()) - 1) < 1e-3):
        raise ValueError(f"the shares sum to {float(shares.sum()):.4g}; it takes shares ≥ 0 that sum to 1.")
    return torch.special.entr(shares).sum().exp()


# --- the codebook and its care ----------------------------------------------------------------------------------------


class RunningMeans(NamedTuple):
    """A codebook, and how often each of its codes is used: a running average of its share, which sums to 1."""

    codebook: Float[Tensor, "codes dim"]
    usage: Float[Tensor, " codes"]


@torch.no_grad()
def running_means(
    old: RunningMeans, z: Float[Tensor, "n dim"], codes: Int[Tensor, " n"], decay: float = 0.95
) -> RunningMeans:
    r"""Return the codebook moved towards the means of the vectors that its codes stand for.

    Of the n vectors let a share $s_k$ have the code k, with the mean $\bar z_k$. Usage and codes become

    $$u_k \leftarrow \gamma\, u_k + (1 - \gamma)\, s_k, \qquad
      e_k \leftarrow e_k + \frac{(1 - \gamma)\, s_k}{u_k}\, (\bar z_k - e_k),$$

    the second with the new $u_k$; a code that nobody uses stays where it is. Then $u_k e_k$ is the running average of
    the sums $s_k \bar z_k$, as in van den Oord et al. (2017), appendix A.1. With $\gamma = 0$ each code becomes the
    mean of its vectors: a step of k-means.

    **Arguments:** `decay`: $\gamma$, in [0, 1).
    """
    chosen = F.one_hot(codes, len(old.codebook)).to(z)
    shares = chosen.mean(dim=0)
    usage = decay * old.usage + (1 - decay) * shares
    towards = chosen.T @ z / len(z) - shares[:, None] * old.codebook  # s_k (mean - e_k)
    tiny = torch.finfo(usage.dtype).tiny  # where a code was never used, 0 is divided by it
    return RunningMeans(old.codebook + (1 - decay) * towards / usage.clamp(min=tiny)[:, None], usage)


@torch.no_grad()
def spread_start(z: Float[Tensor, "n dim"], num_codes: int, *, rounds: int = 10) -> Float[Tensor, "codes dim"]:
    """Return a first codebook from vectors: far-apart ones among them, then `rounds` steps of k-means.

    Each next vector is drawn with a probability proportional to its squared distance from the nearest one so far:
    k-means++, Arthur and Vassilvitskii (2007). A codebook that starts with k-means: Zeghidour et al. (2021),
    https://arxiv.org/abs/2107.03312.

    Raises `ValueError` for fewer vectors than codes.
    """
    if len(z) < num_codes:
        raise ValueError(
            f"there are {len(z)} vectors, and the start of {num_codes} codes takes at least as many; "
            "give a larger batch."
        )
    chosen = z[torch.randint(len(z), (1,), device=z.device)]
    distance = (z - chosen).square().sum(dim=1)
    while len(chosen) < num_codes:
        new = z[torch.multinomial(distance.float().clamp(min=1e-12), 1)]  # if all are used up, any will do
        distance = torch.minimum(distance, (z - new).square().sum(dim=1))
        chosen = torch.cat([chosen, new])
    means = RunningMeans(chosen, z.new_ones(num_codes) / num_codes)
    for _ in range(rounds):
        means = running_means(means, z, nearest_codes(z, means.codebook), decay=0.0)
    return means.codebook


@torch.no_grad()
def restart_unused(old: RunningMeans, z: Float[Tensor, "n dim"], least: float) -> RunningMeans:
    """Return the codebook with every code that is used too little put where one of the vectors `z` is, at random.

    Too little is less than `least` times an equal share; a code that was moved counts as used equally often. Source:
    Dhariwal et al. (2020), https://arxiv.org/abs/2005.00341, section 3.1.
    """
    dead = old.usage < least / len(old.usage)
    fresh = z[torch.randint(len(z), (len(old.usage),), device=z.device)]
    usage = torch.where(dead, 1 / len(old.usage), old.usage)
    return RunningMeans(torch.where(dead[:, None], fresh, old.codebook), usage)


# --- the model --------------------------------------------------------------------------------------------------------

PATCH = 4  # pixels; 7 × 7 patches make a picture of 28 × 28


class Quantised(NamedTuple):
    """What becomes of pictures on their way through the model.

    **Attributes:** `z`, what the encoder says; `codes`, the nearest ones; `chosen`, their vectors; `log_likelihood` of
    each picture given its codes, in nats.
    """

    z: Float[Tensor, "batch places dim"]
    codes: Int[Tensor, "batch places"]
    chosen: Float[Tensor, "batch places dim"]
    log_likelihood: Float[Tensor, " batch"]


class VQVAE(training.EpochLogger):
    r"""An autoencoder whose code is a grid of whole numbers, one for each patch of 4 × 4 pixels.

    The encoder gives each place a vector $z$, which is replaced by the nearest vector $e$ of a codebook; from these the
    decoder gives the logits of independent Bernoulli pixels. The encoder sees each patch by itself, so that equal
    patches have equal codes; the decoder lets neighbours see each other. Training lowers, in nats per picture and
    averaged over the batch,

    $$-\log p(x \mid e) + \beta \sum_{\text{places}} \lVert z - \mathrm{sg}[e] \rVert^2,$$

    where the first term reaches the encoder by `straight_through`. The codebook has no gradient: it follows the means
    of the vectors that its codes stand for (`running_means`), with several processes those of the first.

    Logged once per epoch: `train_loss`, `val_loss` (the first term alone), `val_perplexity` (the mean over batches).

    **Arguments:**

    - `num_codes`, `code_dim`: codes in the codebook, and numbers in each.
    - `shape`: (channels, height, width) of a picture; height and width are multiples of 4.
    - `channels`: of the convolutions.
    - `commitment`: $\beta$.
    - `ema_decay`: $\gamma$ of the running means, in [0, 1).
    - `spread`: whether the codebook begins at encoder outputs of the first batch (`spread_start`), else at random.
    - `restart`: codes used less than this share of an equal share are moved (`restart_unused`), in [0, 1); 0 for never.
    - `learning_rate`: Adam's at its peak; it rises for a twentieth of the training and falls linearly to 0.

    Raises `ValueError` for arguments outside these ranges; the methods, for pictures of another shape or with values
    outside [0, 1] and for codes that are not in the codebook.
    """

    codebook: Tensor
    usage: Tensor

    def __init__(
        self,
        num_codes: int = 32,
        code_dim: int = 16,
        *,
        shape: Sequence[int] = (1, 28, 28),
        channels: int = 32,
        commitment: float = 0.25,
        ema_decay: float = 0.95,
        spread: bool = True,
        restart: float = 0.1,
        learning_rate: float = 5e-3,
    ) -> None:
        super().__init__()
        check_count("num_codes", num_codes, least=2)
        check_count("code_dim", code_dim)
        check_count("channels", channels)
        check_not_negative("commitment", commitment)
        check_positive("learning_rate", learning_rate)
        for name, share in (("ema_decay", ema_decay), ("restart", restart)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} is {share}; it takes a number in [0, 1).")
        if len(shape) != 3 or min(shape) < 1 or shape[1] % PATCH or shape[2] % PATCH:
            raise ValueError(
                f"shape is {tuple(shape)}; it takes (channels, height, width) of a picture: at least 1 channel, and "
                f"height and width that are multiples of {PATCH}."
            )
        self.num_codes, self.code_dim, self.shape = num_codes, code_dim, tuple(shape)
        self.grid = shape[1] // PATCH, shape[2] // PATCH
        self.commitment, self.ema_decay, self.spread, self.restart = commitment, ema_decay, spread, restart
        self.learning_rate = learning_rate
        self.save_hyperparameters()
        folded = shape[0] * PATCH**2
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(PATCH),  # each patch becomes one place with 16 channels (of each colour)
            active(nn.Conv2d(folded, channels, 1)),
            active(nn.Conv2d(channels, channels, 1)),
            nn.Conv2d(channels, code_dim, 1),
        )
        self.decoder = nn.Sequential(
            active(nn.Conv2d(code_dim, channels, 3, padding=1)),
            active(nn.Conv2d(channels, channels, 3, padding=1)),
            nn.Conv2d(channels, folded, 3, padding=1),
            nn.PixelShuffle(PATCH),
        )
        self.register_buffer("codebook", torch.randn(num_codes, code_dim))
        self.register_buffer("usage", torch.full((num_codes,), 1 / num_codes))

    @property
    def places(self) -> int:
        """How many codes a picture has."""
        return self.grid[0] * self.grid[1]

    def vectors(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch places dim"]:
        """Return what the encoder says of each place, row by row, before it is quantised."""
        return self.encoder(x).flatten(2).transpose(1, 2)

    def logits(self, vectors: Float[Tensor, "batch places dim"]) -> Float[Tensor, "batch c h w"]:
        """Return the logits of the pixels from one vector per place."""
        return self.decoder(vectors.transpose(1, 2).unflatten(2, self.grid))

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Quantised:
        """Return all that becomes of pictures on their way through the model, without looking at the values."""
        z = self.vectors(x)
        codes = nearest_codes(z, self.codebook.to(z))
        chosen = F.embedding(codes, self.codebook).to(z)
        return Quantised(z, codes, chosen, bernoulli_log_likelihood(self.logits(straight_through(z, chosen)), x))

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "batch c h w"]) -> Int[Tensor, "batch places"]:
        """Return the codes of pictures with values in [0, 1], row by row."""
        self._check_images(x)
        return torch.cat([nearest_codes(self.vectors(part), self.codebook) for part in x.split(500)])

    def decode(self, codes: Int[Tensor, "batch places"]) -> Float[Tensor, "batch c h w"]:
        """Return the logits of the pixels given codes; their sigmoid is the picture."""
        if codes.ndim != 2 or codes.shape[1] != self.places:
            raise ValueError(f"codes has the shape {tuple(codes.shape)}; it takes (batch, {self.places}).")
        check_tokens(codes, self.num_codes)
        return self.logits(F.embedding(codes, self.codebook))

    @torch.no_grad()
    def reconstruct(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        """Return the pictures after encoding and decoding, values in [0, 1]."""
        return self.decode(self.encode(x)).sigmoid()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the mean loss of a batch `(images, labels)`, or of images alone; move the codebook."""
        x = self._pictures(batch)
        if batch_idx == 0:  # once an epoch: a GPU has to wait for it
            self._check_images(x)
        if self.spread and self.trainer.global_step == 0 and batch_idx == 0:
            self.codebook.copy_(spread_start(self.vectors(x).detach().flatten(0, 1), self.num_codes))
        step = self(x)
        distance = (step.z - step.chosen).square().sum(dim=(1, 2))  # the codebook is a constant here
        loss = (self.commitment * distance - step.log_likelihood).mean()
        self.collect(train_loss=loss)
        z = step.z.detach().flatten(0, 1).to(self.codebook)
        means = RunningMeans(self.codebook, self.usage)
        means = restart_unused(running_means(means, z, step.codes.flatten(), self.ema_decay), z, self.restart)
        self.codebook.copy_(means.codebook)
        self.usage.copy_(means.usage)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log minus the log-likelihood of a batch given its codes, and the perplexity of these."""
        x = self._pictures(batch)
        step = self(x)
        perplexity = code_perplexity(code_usage(step.codes, self.num_codes))
        figures = {"val_loss": -step.log_likelihood.mean(), "val_perplexity": perplexity}
        self.log_dict(figures, batch_size=len(x), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Adam, with a learning rate that rises briefly and falls to 0."""
        optimizer = torch.optim.Adam(self.parameters(), self.learning_rate)
        return training.with_rise_and_fall(self, optimizer, rising=0.05)

    def _pictures(self, batch: Any) -> Tensor:
        return training.as_floats("images", training.tensors_of(batch, "images", "labels", least=1)[0], self)

    def _check_images(self, x: Tensor) -> None:
        check_pictures(x, self.shape, OTHER_SHAPES)


# --- the prior over the codes -----------------------------------------------------------------------------------------


def code_rows(
    codes: Int[Tensor, "batch places"], labels: Int[Tensor, " batch"], num_codes: int
) -> Int[Tensor, "batch longer"]:
    """Return rows of tokens: first the class, as the token `num_codes` + label, then the codes of the picture."""
    return torch.cat([num_codes + labels[:, None], codes], dim=1)


def prior_log_prob(
    prior: GPT, codes: Int[Tensor, "batch places"], labels: Int[Tensor, " batch"], num_codes: int
) -> Float[Tensor, " batch"]:
    r"""Return $\log p(c_1, \dots, c_{49} \mid y)$ of each picture's codes under the prior, in nats.

    Among the tokens only codes may follow, so the softmax is over these: `sample` draws from the same distribution.
    """
    rows = code_rows(codes, labels, num_codes)
    found = []
    for part in rows.split(500):
        with torch.no_grad(), training.evaluating(prior):
            log_p = prior(part[:, :-1])[..., :num_codes].log_softmax(dim=-1)
        found.append(log_p.gather(2, part[:, 1:, None]).squeeze(2).sum(dim=1))
    return torch.cat(found)


@torch.no_grad()
def sample_codes(
    prior: GPT, labels: Int[Tensor, " batch"], num_codes: int, places: int = 49, **choice: Any
) -> Int[Tensor, "batch places"]:
    """Return rows of codes for the classes `labels`, drawn one place after the other by PyTorch's global generator.

    **Arguments:** `choice`: `temperature`, `top_k`, `top_p`, as of `gpt.next_token_probabilities`.

    Raises `ValueError` for labels that are not whole numbers from 0, below the number of classes that the prior knows,
    for more places than its context holds, and as `next_token_probabilities` does.
    """
    config = prior.config
    check_count("num_codes", num_codes)
    check_count("places", places)
    if places > config.context:
        raise ValueError(f"places is {places}; the prior's context holds {config.context}.")
    if config.vocab_size <= num_codes:
        raise ValueError(f"num_codes is {num_codes}; the prior knows {config.vocab_size} tokens, classes among them.")
    check_tokens(labels, config.vocab_size - num_codes)
    token, cache, drawn = num_codes + labels[:, None], prior.new_cache(len(labels)), []
    with training.evaluating(prior):
        for _ in range(places):
            logits = prior(token, cache)[:, -1, :num_codes]  # a class may not follow
            token = torch.multinomial(next_token_probabilities(logits, **choice), 1)
            drawn.append(token)
    return torch.cat(drawn, dim=1)


def sample(model: VQVAE, prior: GPT, labels: Int[Tensor, " batch"], **choice: Any) -> Float[Tensor, "batch c h w"]:
    """Return pictures of the classes asked for, values in [0, 1]: codes from `sample_codes`, decoded."""
    codes = sample_codes(prior, labels, model.num_codes, model.places, **choice)
    with torch.no_grad():
        return model.decode(codes).sigmoid()


# --- the course's VQ-VAE and its prior --------------------------------------------------------------------------------


def recipe(profile: str = "auto") -> dict[str, Any]:
    """Return all that decides the VQ-VAE of the chapter, as plain values: `data`, `model` and `fit` settings.

    Raises `ValueError` for an unknown profile.
    """
    profile = training.resolve_profile(profile)
    return {
        "data": {"name": "digits", "batch_size": 50, "rotate": 10.0, "shift": 1.0, "scale": 0.05},
        "model": {
            "num_codes": {"smoke": 16, "cpu": 32, "gpu": 64}[profile],
            "code_dim": {"smoke": 4, "cpu": 16, "gpu": 16}[profile],
            "channels": {"smoke": 8, "cpu": 32, "gpu": 96}[profile],
            "learning_rate": {"smoke": 5e-3, "cpu": 5e-3, "gpu": 2e-3}[profile],
        },
        "fit": {"max_epochs": {"smoke": 1, "cpu": 20, "gpu": 100}[profile], "seed": 0},
    }


def train(profile: str = "auto") -> tuple[VQVAE, dict[str, list[float]]]:
    """Train the VQ-VAE by its recipe and put it into the cache; return it with its curve (see `training.fit`)."""
    model, history = training.trained_by(recipe(profile), "vqvae", VQVAE, ImageData, retrain=True)
    return cast(VQVAE, model), history


def pretrained(profile: str = "auto") -> VQVAE:
    """Return the VQ-VAE of the recipe: from the cache, else trained first (see `training.trained_by`)."""
    return cast(VQVAE, training.trained_by(recipe(profile), "vqvae", VQVAE, ImageData)[0])


def prior_recipe(profile: str = "auto") -> dict[str, Any]:
    """Return all that decides the prior over the codes of `pretrained`, that model's own recipe among it.

    Raises `ValueError` for an unknown profile.
    """
    profile = training.resolve_profile(profile)
    codes = recipe(profile)
    return {
        "codes": codes,
        "data": {"profile": profile, "batch_size": {"smoke": 64, "cpu": 32, "gpu": 64}[profile]},
        "model": {
            "vocab_size": codes["model"]["num_codes"] + 10,
            "context": 49,
            "layers": {"smoke": 1, "cpu": 3, "gpu": 6}[profile],
            "heads": {"smoke": 2, "cpu": 4, "gpu": 8}[profile],
            "width": {"smoke": 16, "cpu": 64, "gpu": 192}[profile],
            "dropout": {"smoke": 0.0, "cpu": 0.1, "gpu": 0.3}[profile],
            "zero_output": True,
            "learning_rate": {"smoke": 6e-3, "cpu": 6e-3, "gpu": 2e-3}[profile],
        },
        "fit": {"max_epochs": {"smoke": 1, "cpu": 16, "gpu": 30}[profile], "seed": 0, "gradient_clip_val": 1.0},
    }


class CodeData(pl.LightningDataModule):
    """Batches `(x, y)` of rows of tokens for the prior, from the digits as they are: y is x, one token further.

    The codes are those of `pretrained(profile)`. Raises `ValueError` for an unknown profile.
    """

    def __init__(self, profile: str, batch_size: int) -> None:
        super().__init__()
        model, data = pretrained(profile), ImageData(recipe(profile)["data"]["name"])
        self.batch_size, self.sets = batch_size, {}
        for split in ("train", "validation"):
            x, labels = data.split(split)
            rows = code_rows(model.encode(x), labels, model.num_codes)
            self.sets[split] = TensorDataset(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of the training split, in a new order every epoch."""
        return DataLoader(self.sets["train"], batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Batches of the validation split."""
        return DataLoader(self.sets["validation"], batch_size=self.batch_size)


def build_prior(**config: Any) -> NextTokenTraining:
    """Return the training of a new prior, from the fields of a `GPTConfig`."""
    return NextTokenTraining(GPT(GPTConfig(**config)))


def train_prior(profile: str = "auto") -> tuple[GPT, dict[str, list[float]]]:
    """Train the prior by its recipe and put it into the cache; return it with its curve."""
    trained, history = training.trained_by(prior_recipe(profile), "vqvae-prior", build_prior, CodeData, retrain=True)
    return cast(NextTokenTraining, trained).model, history


def pretrained_prior(profile: str = "auto") -> GPT:
    """Return the prior of the recipe: from the cache, else trained first (see `training.trained_by`)."""
    trained, _ = training.trained_by(prior_recipe(profile), "vqvae-prior", build_prior, CodeData)
    return cast(NextTokenTraining, trained).model
