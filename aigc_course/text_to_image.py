r"""From a caption to a picture: captions in a small grammar, a contrastive model of both, and a generator with words.

The module reads in the order of the chapter: captions and the scenes that they describe, composed by program over real
digits; a contrastive model, which learns what belongs together (CLIP: Radford et al., 2021,
https://arxiv.org/abs/2103.00020); a reader, which only judges; and a diffusion model whose U-Net looks at the words by
cross-attention (Rombach et al., 2022, https://arxiv.org/abs/2112.10752). Scenes have the shape (1, 28, 28).
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, cast

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler

from aigc_course import diffusion, gpt, training
from aigc_course.checks import check_count, check_not_negative, check_positive, check_tokens
from aigc_course.data import ImageData

# --- captions ---------------------------------------------------------------------------------------------------------

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
VALUES = {
    "count": ("one", "two"),
    "size": ("small", "large"),
    "digit": NAMES,
    "tilt": ("upright", "tilted left", "tilted right"),
}
SIZES = [len(values) for values in VALUES.values()]
PLURALS = tuple("sixes" if name == "six" else f"{name}s" for name in NAMES)

PAD, END = 0, 1
WORDS = ("·", "■", *dict.fromkeys((*NAMES, *PLURALS, "small", "large", "upright", "tilted", "left", "right")))
LENGTH = 6  # tokens of a caption: five words at most, then the end


def combinations(which: str = "all") -> Int[Tensor, "n 4"]:
    """Return combinations of count, size, digit and tilt, one per row: `"all"` 120, `"seen"` 96 or `"unseen"` 24.

    Every fifth combination is unseen: kept away from all that is trained to make pictures or to match them. They are
    spread so that each value of an attribute, and each pair of values of two attributes, is seen in other combinations.

    Raises `ValueError` for another name.
    """
    if which not in ("all", "seen", "unseen"):
        raise ValueError(f"which is {which!r}; it takes 'all', 'seen' or 'unseen'.")
    everything = torch.cartesian_prod(*[torch.arange(size) for size in SIZES])
    if which == "all":
        return everything
    count, size, digit, tilt = everything.unbind(1)
    hidden = (3 * (2 * count + size) + tilt + 2 * digit) % 5 == 4
    return everything[hidden if which == "unseen" else ~hidden]


def caption(combination: Sequence[int] | Int[Tensor, "4"]) -> str:
    """Return the caption of a combination of four numbers, for example "two small sevens tilted left".

    Raises `ValueError` for numbers outside their ranges.
    """
    numbers = [int(number) for number in combination]
    if len(numbers) != 4 or any(not 0 <= number < size for number, size in zip(numbers, SIZES, strict=True)):
        limits = ", ".join(f"{name} below {size}" for name, size in zip(VALUES, SIZES, strict=True))
        raise ValueError(f"combination is {numbers}; it takes four whole numbers from 0: {limits}.")
    count, size, digit, tilt = numbers
    name = (PLURALS if count else NAMES)[digit]
    return f"{VALUES['count'][count]} {VALUES['size'][size]} {name} {VALUES['tilt'][tilt]}"


def tokens_of(captions: Sequence[str]) -> Int[Tensor, "n length"]:
    """Return the captions as numbers of words, an end, and then padding up to `LENGTH`. An empty caption is allowed.

    Raises `ValueError` for a word that is not in `WORDS` and for more than five words.
    """
    rows = []
    for text in captions:
        words = text.split()
        if unknown := [word for word in words if word not in WORDS[2:]]:
            raise ValueError(f"the caption {text!r} has the unknown word {unknown[0]!r}; there are {WORDS[2:]}.")
        if len(words) >= LENGTH:
            raise ValueError(f"the caption {text!r} has {len(words)} words; it takes {LENGTH - 1} at most.")
        rows.append([*map(WORDS.index, words), END, *[PAD] * (LENGTH - 1 - len(words))])
    return torch.tensor(rows, dtype=torch.long).view(-1, LENGTH)


# --- scenes -----------------------------------------------------------------------------------------------------------

TILT = 30.0  # degrees
SCALES = (0.85, 1.2)  # of a digit that is 20 pixels high, if it is alone
BESIDE = 0.7  # times that for each of two, which have less room
PLACES = ((0.0, 0.0), (-6.4, -3.2), (6.4, 3.2))  # (right, down) of the middle, in pixels: alone, the first, the second


def slants(images: Float[Tensor, "n 1 h w"]) -> tuple[Float[Tensor, "n 2"], Float[Tensor, " n"]]:
    r"""Return each picture's middle $(\bar x, \bar y)$ in pixels and its slant, both weighted by the ink.

    The slant is $\mathrm{Cov}(x, y) / \mathrm{Var}(y)$: by how many pixels the strokes go to the right per pixel down.
    """
    ink = images[:, 0] / images.sum(dim=(1, 2, 3)).clamp(min=1e-6)[:, None, None]
    places = [torch.arange(size, dtype=images.dtype) for size in images.shape[-2:]]
    y, x = (ink.sum(dim=2) @ places[0], ink.sum(dim=1) @ places[1])
    down, right = places[0] - y[:, None], places[1] - x[:, None]
    together = torch.einsum("nhw,nh,nw->n", ink, down, right)
    alone = torch.einsum("nhw,nh->n", ink, down**2)
    return torch.stack([x, y], dim=1), together / alone.clamp(min=1e-6)


def compose(
    first: Float[Tensor, "n 1 28 28"],
    second: Float[Tensor, "n 1 28 28"],
    wanted: Int[Tensor, "n 4"],
    *,
    generator: torch.Generator | None = None,
    jitter: float = 1.0,
) -> Float[Tensor, "n 1 28 28"]:
    r"""Return scenes with values in [0, 1] of one digit (`first`) or of two, as the combinations `wanted` say.

    Each digit is sheared until it stands upright (see `slants`; otherwise "upright" would mean little, since people
    write at different angles), scaled by `SCALES`, turned by `TILT` and put into its place. So a pixel at $p$ shows the
    digit's place $m + K R^{-1} (p - c) / k$ with its middle $m$, the shear $K$, the rotation $R$, the scale $k$ and the
    place $c$ of its middle in the scene. Each pixel is the mean of four points. Where strokes meet the brighter counts.

    **Arguments:** `jitter`: times the usual random part: 5 degrees, 4 % of the size, and 1.5 pixels (0.8 for two) each
    way, all drawn evenly.

    Raises `ValueError` for combinations outside their ranges and a negative jitter.
    """
    check_not_negative("jitter", jitter)
    _check_combinations(wanted)
    count, size, _, tilt = wanted.unbind(1)
    scenes = torch.zeros_like(first)
    for number, digits in enumerate((first, second)):
        random = jitter * (2 * torch.rand(len(wanted), 4, generator=generator) - 1)
        where = torch.where(count == 0, 0, number + 1)
        scale = torch.tensor(SCALES)[size] * torch.where(count == 0, 1.0, BESIDE) * (1 + 0.04 * random[:, 0])
        angle = math.pi / 180 * (torch.tensor([0.0, -TILT, TILT])[tilt] + 5 * random[:, 1])
        centre = torch.tensor(PLACES)[where] + torch.where(count == 0, 1.5, 0.8)[:, None] * random[:, 2:]
        shown = _placed(digits, scale, angle, centre)
        scenes = torch.maximum(scenes, shown if number == 0 else shown * count.view(-1, 1, 1, 1))
    return scenes


def _placed(images: Tensor, scale: Tensor, angle: Tensor, centre: Tensor) -> Tensor:
    """The pictures sheared upright, scaled, turned clockwise and moved; read at twice the resolution, then averaged."""
    middle, slant = slants(images)
    size = images.shape[-1]
    points = (torch.arange(2 * size) + 0.5) / 2 - size / 2  # from the middle of the scene
    down, right = torch.meshgrid(points, points, indexing="ij")
    x, y = (axis - centre[:, k].view(-1, 1, 1) for k, axis in enumerate((right, down)))
    cos, sin, k = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1), scale.view(-1, 1, 1)
    u, v = (cos * x + sin * y) / k, (cos * y - sin * x) / k
    u = u + slant.view(-1, 1, 1) * v
    # In the units of grid_sample, where -1 and 1 are the picture's edges and a pixel's middle lies half a pixel inside.
    places = torch.stack([u, v], dim=-1) + middle.view(-1, 1, 1, 2)
    read = F.grid_sample(images, (2 * places + 1) / size - 1, align_corners=False)
    return F.avg_pool2d(read, 2).clamp(0, 1)


def scenes_of(
    wanted: Int[Tensor, "n 4"],
    digits: tuple[Float[Tensor, "m 1 28 28"], Int[Tensor, " m"]],
    *,
    seed: int = 0,
) -> Float[Tensor, "n 1 28 28"]:
    """Return a scene for each combination, of digits drawn from the pictures and labels `digits`.

    Raises `ValueError` for combinations outside their ranges and for digits of which there is no picture.
    """
    _check_combinations(wanted)
    images, labels = digits
    generator = torch.Generator().manual_seed(seed)
    order, counts = labels.argsort(stable=True), labels.bincount(minlength=10)
    if missing := [NAMES[k] for k in wanted[:, 2].unique().tolist() if counts[k] == 0]:
        raise ValueError(f"digits hold no picture of a {missing[0]}; they take one of each digit that is wanted.")
    starts, shares = counts.cumsum(0) - counts, torch.rand(2, len(wanted), generator=generator)
    scenes = []
    for part, share in zip(wanted.split(500), shares.split(500, dim=1), strict=True):
        first, second = order[starts[part[:, 2]] + (share * counts[part[:, 2]]).long()]
        scenes.append(compose(images[first], images[second], part, generator=generator))
    return torch.cat(scenes)


def _check_combinations(wanted: Tensor) -> None:
    sizes = torch.tensor(SIZES)
    if wanted.ndim != 2 or wanted.shape[1] != 4 or bool((wanted < 0).any()) or bool((wanted >= sizes).any()):
        raise ValueError(
            f"the combinations have the shape {tuple(wanted.shape)} and values up to {wanted.amax(0).tolist()}; they "
            f"take rows of count, size, digit and tilt, from 0 and below {SIZES}."
        )


class _Scenes(Dataset[Any]):
    """Scenes in memory as bytes; a whole batch is one indexing operation."""

    def __init__(self, scenes: Tensor, wanted: Tensor, targets: str, signed: bool) -> None:
        self.scenes, self.wanted, self.signed = (255 * scenes).round().to(torch.uint8), wanted, signed
        self.captions = tokens_of([caption(row) for row in wanted.tolist()])
        self.targets = self.captions if targets == "captions" else wanted

    def __len__(self) -> int:
        return len(self.wanted)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        chosen = torch.tensor(indices)
        x = self.scenes[chosen].float() / 255
        return 2 * x - 1 if self.signed else x, self.targets[chosen]


class _OneOfEach(Sampler[list[int]]):
    """Batches with one scene of each of `kinds` captions, in a new order every time; scene i has caption i % kinds."""

    def __init__(self, rounds: int, kinds: int) -> None:
        self.rounds, self.kinds = rounds, kinds

    def __len__(self) -> int:
        return self.rounds

    def __iter__(self) -> Iterator[list[int]]:
        rounds = torch.rand(self.rounds, self.kinds).argsort(dim=0)
        yield from (rounds * self.kinds + torch.arange(self.kinds)).tolist()


def _as_it_is(batch: Any) -> Any:
    return batch


class SceneData(pl.LightningDataModule):
    """Scenes with captions: batches `(scenes, captions)`, or `(scenes, combinations)` for a reader.

    The scenes are composed once, the training scenes from the training digits and the validation scenes from the
    validation digits.

    **Arguments:**

    - `which`: the combinations, see `combinations`.
    - `rounds`: training scenes of each combination; there are a tenth as many for validation, at least one of each.
    - `batch_size`: scenes in a batch; `None` for batches with exactly one scene of each combination, which no two
      captions share: that is what a contrastive loss needs.
    - `targets`: `"captions"`, as `tokens_of` returns them, or `"combinations"`, as four numbers.
    - `signed`: scale the batches to [-1, 1]. What `split` returns stays in [0, 1].

    Raises `ValueError` for arguments outside these ranges.
    """

    def __init__(
        self,
        which: str = "seen",
        *,
        rounds: int = 100,
        batch_size: int | None = 16,
        targets: str = "captions",
        signed: bool = False,
    ) -> None:
        super().__init__()
        if targets not in ("captions", "combinations"):
            raise ValueError(f"targets is {targets!r}; it takes 'captions' or 'combinations'.")
        check_count("rounds", rounds)
        if batch_size is not None:
            check_count("batch_size", batch_size)
        self.rounds, self.batch_size, self.targets, self.signed = rounds, batch_size, targets, signed
        self.kinds = combinations(which)
        self._splits: dict[str, _Scenes] = {}

    def split(self, name: str) -> tuple[Float[Tensor, "n 1 28 28"], Int[Tensor, "n length"], Int[Tensor, "n 4"]]:
        """Return the scenes, captions and combinations of `"train"`, `"validation"` or `"test"`, in fixed order."""
        scenes = self._of(name)
        return scenes.scenes.float() / 255, scenes.captions, scenes.wanted

    def _of(self, name: str) -> _Scenes:
        if name not in self._splits:
            digits = ImageData("digits").split(name)
            rounds = self.rounds if name == "train" else max(1, self.rounds // 10)
            wanted = self.kinds.repeat(rounds, 1)
            seed = ("train", "validation", "test").index(name)
            self._splits[name] = _Scenes(scenes_of(wanted, digits, seed=seed), wanted, self.targets, self.signed)
        return self._splits[name]

    def _loader(self, name: str, shuffle: bool) -> DataLoader[Any]:
        scenes = self._of(name)
        if self.batch_size is None:
            batches = _OneOfEach(len(scenes) // len(self.kinds), len(self.kinds))
            return DataLoader(scenes, batch_sampler=batches, collate_fn=_as_it_is)
        return DataLoader(scenes, self.batch_size, shuffle=shuffle, collate_fn=_as_it_is)

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of training scenes, in a new order every epoch."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Batches of validation scenes."""
        return self._loader("validation", shuffle=False)


# --- the two encoders -------------------------------------------------------------------------------------------------


class Text(NamedTuple):
    """What a text encoder makes of captions.

    **Attributes:**

    - `states`: a vector for each token, (batch, length, width).
    - `mask`: true where there is a token and not padding.
    - `pooled`: one vector of length 1 for the whole caption, (batch, features).
    """

    states: Float[Tensor, "batch length width"]
    mask: Bool[Tensor, "batch length"]
    pooled: Float[Tensor, "batch features"]

    def repeat(self, times: int) -> "Text":
        """Return each caption `times` times, one after the other."""
        return Text(*(part.repeat_interleave(times, dim=0) for part in self))


class TextEncoder(nn.Module):
    """The blocks of a small GPT, read at each token and, for the whole caption, at its end, as in CLIP.

    The attention is causal, so that the end has seen all words, and no word sees the padding behind the end.

    **Arguments:** `features`: numbers in the vector of a caption; `width`, `layers`, `heads`: of the GPT.

    Raises `ValueError` as `gpt.GPTConfig` does.
    """

    def __init__(self, features: int = 64, width: int = 64, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        check_count("features", features)
        self.arguments = {"features": features, "width": width, "layers": layers, "heads": heads}
        self.features, self.width = features, width
        config = gpt.GPTConfig(len(WORDS), LENGTH, layers=layers, heads=heads, width=width, zero_output=True)
        self.gpt = gpt.GPT(config)
        self.project = nn.Linear(width, features, bias=False)

    def forward(self, captions: Int[Tensor, "batch length"]) -> Text:
        """Return states, mask and pooled vectors. Raises `ValueError` for captions unlike those of `tokens_of`."""
        check_tokens(captions, len(WORDS))
        if captions.ndim != 2 or captions.shape[1] != LENGTH or not bool((captions == END).any(dim=1).all()):
            raise ValueError(
                f"captions has the shape {tuple(captions.shape)}; it takes (batch, {LENGTH}) with an end in each row, "
                "as tokens_of returns them."
            )
        x, rotation = self.gpt.embedding(captions), (self.gpt.angles.cos(), self.gpt.angles.sin())
        for block in self.gpt.blocks:
            x = block(x, rotation)
        states = self.gpt.norm(x)
        ends = (captions == END).long().argmax(dim=1)
        last = states[torch.arange(len(captions), device=captions.device), ends]
        return Text(states, captions != PAD, F.normalize(self.project(last), dim=1))


class PictureEncoder(nn.Module):
    """Four convolutions, of which three halve the resolution, and a linear layer: from scenes to `features` numbers.

    Raises `ValueError` for fewer than one feature and for channels that are not a multiple of 8.
    """

    def __init__(self, features: int = 64, channels: int = 24) -> None:
        super().__init__()
        check_count("features", features)
        if channels < 8 or channels % 8:
            raise ValueError(f"channels is {channels}; it takes a multiple of 8.")
        self.arguments = {"features": features, "channels": channels}
        layers: list[nn.Module] = []
        sizes = [1, channels, 2 * channels, 2 * channels, 4 * channels]
        for k, (before, after) in enumerate(pairwise(sizes)):
            stride = 1 if k == 2 else 2
            layers += [nn.Conv2d(before, after, 3, stride, 1), nn.GroupNorm(8, after), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.1), nn.Linear(64 * channels, features))

    def forward(self, x: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch features"]:
        """Return the features; `x` has values in [0, 1]."""
        return self.layers(2 * x - 1)


# --- the contrastive model --------------------------------------------------------------------------------------------


def info_nce(logits: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    r"""Return the symmetric contrastive loss of n pairs, in nats: picture i belongs to caption i.

    $$-\frac{1}{2n} \sum_{i=1}^{n} \bigg( \log \frac{e^{l_{ii}}}{\sum_j e^{l_{ij}}}
      + \log \frac{e^{l_{ii}}}{\sum_j e^{l_{ji}}} \bigg)$$

    the mean over pictures of the cross-entropy of their captions, and over captions of that of their pictures. If all
    logits are equal it is $\log n$. Sources: van den Oord, Li and Vinyals (2018), https://arxiv.org/abs/1807.03748;
    Radford et al. (2021), https://arxiv.org/abs/2103.00020, figure 3.

    Raises `ValueError` unless there are as many pictures as captions.
    """
    if logits.ndim != 2 or logits.shape[0] != logits.shape[1]:
        raise ValueError(f"logits has the shape {tuple(logits.shape)}; it takes a square, a row for each picture.")
    right = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


class Contrastive(training.NetworkModel):
    r"""Two encoders that learn to give a picture and its caption similar vectors, and others different ones.

    The similarity is the cosine of the two vectors; `info_nce` gets it divided by a temperature $\tau$, which is learnt
    as $\log (1 / \tau)$ and stays above 1/100. Source: Radford et al. (2021), https://arxiv.org/abs/2103.00020.

    **Arguments:** `pictures`, `texts`: the encoders, with equally many features; `learning_rate`: AdamW's at its peak.

    Logged once per epoch: `train_loss`, `val_loss` and `val_accuracy`, the share of the batch's pictures whose own
    caption is the most similar one.

    Raises `ValueError` for encoders with different numbers of features.
    """

    network_classes = (PictureEncoder, TextEncoder)

    def __init__(self, pictures: PictureEncoder, texts: TextEncoder, *, learning_rate: float = 2e-3) -> None:
        super().__init__()
        check_positive("learning_rate", learning_rate)
        sizes = pictures.arguments["features"], texts.features
        if sizes[0] != sizes[1]:
            raise ValueError(f"pictures gives {sizes[0]} features and texts {sizes[1]}; they take equally many.")
        self.pictures, self.texts, self.learning_rate = pictures, texts, learning_rate
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.save_hyperparameters(ignore=["pictures", "texts"])
        self.keep_networks(pictures=pictures, texts=texts)

    def similarities(
        self, scenes: Float[Tensor, "n 1 28 28"], captions: Int[Tensor, "m length"]
    ) -> Float[Tensor, "n m"]:
        """Return the cosine of each scene's vector with each caption's. Scenes have values in [0, 1]."""
        return F.normalize(self.pictures(scenes), dim=1) @ self.texts(captions).pooled.T

    def logits(self, scenes: Tensor, captions: Tensor) -> Tensor:
        """Return the similarities divided by the temperature."""
        return self.similarities(scenes, captions) * self.log_scale.clamp(max=math.log(100)).exp()

    def training_step(self, batch: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss on a batch `(scenes, captions)`; no two captions of a batch should be equal."""
        loss = info_nce(self.logits(*self._examples(batch)))
        self.collect(train_loss=loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the loss and the accuracy on held-out scenes."""
        logits = self.logits(*self._examples(batch))
        right = (logits.argmax(dim=1) == torch.arange(len(logits), device=logits.device)).float().mean()
        self.log_dict({"val_loss": info_nce(logits), "val_accuracy": right}, batch_size=len(logits), sync_dist=True)

    def _examples(self, batch: Any) -> tuple[Tensor, Tensor]:
        scenes, captions = training.tensors_of(batch, "scenes", "captions", least=2)
        return training.as_floats("scenes", scenes, self), captions

    def configure_optimizers(self) -> Any:
        """AdamW, with a learning rate that rises briefly and falls to 0."""
        return _adam(self, self.parameters(), self.learning_rate)


def _adam(model: pl.LightningModule, parameters: Any, learning_rate: float) -> Any:
    optimizer = torch.optim.AdamW(parameters, learning_rate, (0.9, 0.99), weight_decay=0.01, fused=True)
    return training.with_rise_and_fall(model, optimizer, rising=0.05)


@torch.no_grad()
def best_of(
    model: Contrastive, candidates: Float[Tensor, "n draws 1 28 28"], captions: Int[Tensor, "n length"]
) -> Float[Tensor, "n 1 28 28"]:
    """Return of each caption's candidates, with values in [0, 1], the one that the model finds most similar to it.

    So did DALL-E with CLIP: Ramesh et al. (2021), https://arxiv.org/abs/2102.12092.

    Raises `ValueError` for another number of captions than of groups of candidates.
    """
    if len(candidates) != len(captions):
        raise ValueError(f"there are {len(candidates)} groups of candidates and {len(captions)} captions.")
    vectors = F.normalize(model.pictures(candidates.flatten(0, 1)), dim=1).unflatten(0, candidates.shape[:2])
    scores = torch.einsum("ndf,nf->nd", vectors, model.texts(captions).pooled)
    return candidates[torch.arange(len(candidates)), scores.argmax(dim=1)]


# --- the reader -------------------------------------------------------------------------------------------------------


class Reader(training.NetworkModel):
    """A recogniser with four heads, for count, size, digit and tilt: the judge. It shares nothing with the others.

    The loss is the sum of the four cross-entropies, the mean over scenes. Logged once per epoch: `train_loss`,
    `val_loss` and `val_accuracy`, the share of scenes of which all four are read right.

    **Arguments:** `network`: a `PictureEncoder` with 17 features; `learning_rate`: AdamW's at its peak.

    Raises `ValueError` for another number of features.
    """

    network_classes = (PictureEncoder,)

    def __init__(self, network: PictureEncoder, *, learning_rate: float = 2e-3) -> None:
        super().__init__()
        check_positive("learning_rate", learning_rate)
        if network.arguments["features"] != sum(SIZES):
            raise ValueError(f"network gives {network.arguments['features']} features; it takes {sum(SIZES)}.")
        self.network, self.learning_rate = network, learning_rate
        self.save_hyperparameters(ignore="network")
        self.keep_networks(network=network)

    @torch.no_grad()
    def read(self, scenes: Float[Tensor, "n 1 28 28"]) -> Int[Tensor, "n 4"]:
        """Return what is seen in scenes with values in [0, 1]: count, size, digit and tilt, as in `combinations`."""
        return torch.stack([part.argmax(dim=1) for part in self.network(scenes).split(SIZES, dim=1)], dim=1)

    def _loss(self, batch: Any) -> tuple[Tensor, Tensor]:
        scenes, wanted = training.tensors_of(batch, "scenes", "combinations", least=2)
        parts = self.network(training.as_floats("scenes", scenes, self)).split(SIZES, dim=1)
        right = torch.stack([part.argmax(dim=1) for part in parts], dim=1) == wanted
        losses = [F.cross_entropy(part, truth) for part, truth in zip(parts, wanted.unbind(1), strict=True)]
        return torch.stack(losses).sum(), right.all(dim=1).float().mean()

    def training_step(self, batch: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss on a batch `(scenes, combinations)`."""
        loss, _ = self._loss(batch)
        self.collect(train_loss=loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the loss and the accuracy on held-out scenes."""
        loss, right = self._loss(batch)
        self.log_dict({"val_loss": loss, "val_accuracy": right}, batch_size=len(batch[0]), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """AdamW, with a learning rate that rises briefly and falls to 0."""
        return _adam(self, self.parameters(), self.learning_rate)


def agreement(seen: Int[Tensor, "n 4"], asked: Int[Tensor, "n 4"]) -> dict[str, float]:
    """Return the shares of scenes of which count, size, digit, tilt and all four were read as asked.

    Raises `ValueError` for different numbers of them, or none.
    """
    if seen.shape != asked.shape or not len(seen):
        raise ValueError(f"seen has the shape {tuple(seen.shape)} and asked {tuple(asked.shape)}; they take one.")
    right = seen == asked
    shares = dict(zip(VALUES, right.float().mean(dim=0).tolist(), strict=True))
    return {**shares, "all": right.all(dim=1).float().mean().item()}


# --- the generator ----------------------------------------------------------------------------------------------------


class CrossAttention(nn.Module):
    r"""Each position of a map asks, and the tokens of a text answer.

    Queries are linear functions of the normalised map, keys and values of the tokens' states:

    $$h \leftarrow h + \mathrm{softmax}\Big(\frac{q k^\top}{\sqrt{d}} + \text{mask}\Big) v\, W$$

    with one row per position and per token, and $d$ numbers per head; the mask is minus infinity at padding. $W$
    begins at 0, so that at first nothing is added. Source: Rombach et al. (2022), https://arxiv.org/abs/2112.10752,
    section 3.3.
    """

    def __init__(self, channels: int, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.GroupNorm(8, channels)
        self.query, self.out = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)
        self.keys_values = nn.Linear(width, 2 * channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(cast(Tensor, self.out.bias))

    def attend(
        self, x: Float[Tensor, "batch channels h w"], text: Text
    ) -> tuple[Float[Tensor, "batch heads positions length"], Float[Tensor, "batch heads length d"]]:
        """Return the attention weights, which sum to 1 over the tokens, and the values."""
        q = self.query(self.norm(x)).flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3)
        keys_values = self.keys_values(text.states).unflatten(2, (2, self.heads, -1))
        k, v = keys_values.permute(2, 0, 3, 1, 4)
        # Written out: the weights are wanted for the maps, and the fused function has no deterministic way on a GPU.
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
        return scores.masked_fill(~text.mask[:, None, None], -math.inf).softmax(dim=-1), v

    def forward(self, x: Float[Tensor, "batch channels h w"], text: Text) -> Float[Tensor, "batch channels h w"]:
        """Return the map with what its positions gather from the text."""
        weights, v = self.attend(x, text)
        return x + self.out((weights @ v).transpose(2, 3).reshape(x.shape))


class TextUNet(diffusion.UNet):
    """The course's U-Net with a text in the place of a class.

    The pooled vector is added to the features of time, where the class was. At the second resolution, after attention
    among themselves, the 7 × 7 positions look at the words by cross-attention.

    **Arguments:** `shape`, `channels`: as of `diffusion.UNet`; `width`, `features`: of the text encoder.

    Raises `ValueError` as `diffusion.UNet` does.
    """

    def __init__(self, shape: Sequence[int], channels: int = 32, width: int = 64, features: int = 64) -> None:
        super().__init__(shape, channels)
        check_count("width", width)
        check_count("features", features)
        self.arguments = {"shape": list(shape), "channels": channels, "width": width, "features": features}
        self.pooled = nn.Linear(features, 2 * channels, bias=False)
        self.features = features
        self.cross = CrossAttention(2 * channels, width)

    def forward(  # type: ignore[override]
        self, x: Float[Tensor, "batch c h w"], t: Float[Tensor, " batch"], text: Text
    ) -> Float[Tensor, "batch c h w"]:
        """Return one number per pixel."""
        of_time = self.given[0](diffusion.time_features(t, self.channels).to(x))
        # A vector of length 1 becomes as large as the features of time.
        given = self.given[1:](of_time + self.pooled(text.pooled * self.features**0.5))
        return self.through(x, given, lambda h: self.cross(h, text))


class TextToImage(diffusion.Diffusion):
    """A diffusion model that is told a caption.

    The loss, the path and the samplers are those of `diffusion.Diffusion`. The text encoder is frozen: it is used as
    the contrastive model left it. For a share `untold` of the examples the caption is empty.

    **Arguments:** `network`: from examples, times and `Text` to what `prediction` names, such as a `TextUNet`;
    `encoder`: a `TextEncoder`; `settings`: as of `diffusion.Diffusion`.
    """

    network_classes = (TextUNet, TextEncoder)  # type: ignore[assignment]

    def __init__(self, network: nn.Module, encoder: TextEncoder, **settings: Any) -> None:
        # Not by super(), from whose call Lightning would collect the encoder as a hyperparameter, weights and all.
        diffusion.Diffusion.__init__(self, network, **settings)
        self.encoder = encoder.requires_grad_(False)
        self.keep_networks(network=network, encoder=encoder)

    def told(self, captions: Int[Tensor, "batch length"]) -> Text:
        """Return what the frozen encoder makes of captions."""
        with torch.no_grad(), training.evaluating(self.encoder):
            return self.encoder(captions)

    def loss(  # type: ignore[override]
        self, x: Float[Tensor, "batch c h w"], captions: Int[Tensor, "batch length"]
    ) -> Float[Tensor, ""]:
        """Return the loss of these examples at times and with noise drawn from PyTorch's global generator."""
        return self._loss_told(x, self.told(captions))

    def guess(  # type: ignore[override]
        self, text: Text, guidance: float = 1.0, *, averaged: bool = True
    ) -> diffusion.Guess:
        r"""Return a function for the samplers: from $x_t$ and $t$ to guesses of $x_0$ and the noise.

        **Arguments:** `text`: from `told`, one caption per example; `guidance`: $w$, see `diffusion.Diffusion.guess`;
        what is guided away from is the empty caption.

        Raises `ValueError` for a guidance that is not a number.
        """
        nothing = self.told(tokens_of([""]).to(text.mask.device)).repeat(len(text.mask))
        return self._guess_told(text, nothing, guidance, averaged)

    @torch.no_grad()
    def draw(
        self,
        captions: Int[Tensor, "n length"],
        *,
        guidance: float = 3.0,
        steps: int = 20,
        seed: int = 0,
        batch_size: int = 120,
    ) -> Float[Tensor, "n c h w"]:
        """Return a picture with values in [0, 1] for each caption, by DDIM from noise of the seed's own generator.

        Raises `ValueError` for a guidance that is not a number and for fewer than one step.
        """
        check_count("batch_size", batch_size)
        shape = cast(TextUNet, self.network).shape
        noise = torch.randn(len(captions), *shape, generator=torch.Generator().manual_seed(seed))
        drawn = []
        for x, part in zip(noise.split(batch_size), captions.split(batch_size), strict=True):
            guess = self.guess(self.told(part), guidance)
            drawn.append(diffusion.ddim(guess, self.path, x.to(self.device), steps))
        return (torch.cat(drawn).clamp(-1, 1) + 1) / 2

    def training_step(self, batch: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss on a batch `(scenes, captions)` with scenes in [-1, 1]."""
        x, captions = self._examples(batch)
        hidden = torch.rand(len(x), device=x.device) < self.untold
        empty = tokens_of([""]).to(captions)
        loss = self.loss(x, torch.where(hidden[:, None], empty, captions))
        self.collect(train_loss=loss)
        return loss

    def _examples(self, batch: Any) -> tuple[Tensor, Tensor]:
        x, captions = training.tensors_of(batch, "scenes", "captions", least=2)
        x = training.as_floats("scenes", x, self)
        shape = getattr(self.network, "shape", None)
        if shape is not None and tuple(x.shape[1:]) != shape:
            raise ValueError(f"the scenes have the shape {tuple(x.shape[1:])}; the network takes {shape}.")
        return x, captions


# --- the models of the chapter ----------------------------------------------------------------------------------------

MODELS = ("contrastive", "reader", "text_to_image")


def recipe(name: str, profile: str = "auto") -> dict[str, Any]:
    """Return all that decides a model of the chapter, as plain values: `data`, `model` and `fit` settings and the seed.

    `name` is `"contrastive"`, `"reader"` or `"text_to_image"`. Raises `ValueError` for another name or an unknown
    profile.
    """
    profile = training.resolve_profile(profile)
    if name not in MODELS:
        raise ValueError(f"name is {name!r}; it takes 'contrastive', 'reader' or 'text_to_image'.")
    scale = {"smoke": 0, "cpu": 1, "gpu": 2}[profile]
    rounds = (2, 150, 400)[scale]
    if name == "contrastive":
        texts = {"features": (8, 64, 64)[scale], "width": (16, 64, 64)[scale], "layers": (1, 2, 2)[scale]}
        pictures = {"features": texts["features"], "channels": (8, 24, 64)[scale]}
        return {
            "data": {"which": "seen", "rounds": rounds, "batch_size": None},
            "model": {"pictures": pictures, "texts": texts, "learning_rate": 2e-3},
            "fit": {"max_epochs": (1, 8, 20)[scale], "seed": 0},
        }
    if name == "reader":
        return {
            "data": {"which": "all", "rounds": rounds, "batch_size": 64, "targets": "combinations"},
            "model": {"features": sum(SIZES), "channels": (8, 24, 64)[scale], "learning_rate": 2e-3},
            "fit": {"max_epochs": (1, 6, 20)[scale], "seed": 1},
        }
    return {
        "data": {"which": "seen", "rounds": rounds, "batch_size": (16, 16, 128)[scale], "signed": True},
        "model": {
            "network": {"shape": [1, 28, 28], "channels": (8, 32, 96)[scale]},
            "profile": profile,
            "learning_rate": (2e-3, 2e-3, 1e-3)[scale],
            "ema_decay": (0.9, 0.995, 0.999)[scale],
            "untold": 0.1,
        },
        "fit": {"max_epochs": (1, 8, 60)[scale], "seed": 0},
    }


def build_contrastive(pictures: dict[str, Any], texts: dict[str, Any], **settings: Any) -> Contrastive:
    """Return a `Contrastive` around new encoders with these arguments; the weights come from the global seed."""
    return Contrastive(PictureEncoder(**pictures), TextEncoder(**texts), **settings)


def build_reader(features: int, channels: int, **settings: Any) -> Reader:
    """Return a `Reader` around a new `PictureEncoder`; the weights come from the global seed."""
    return Reader(PictureEncoder(features, channels), **settings)


def build_generator(network: dict[str, Any], profile: str, **settings: Any) -> TextToImage:
    """Return a `TextToImage` around a new `TextUNet` and the text encoder of the profile's contrastive model."""
    encoder = cast(Contrastive, pretrained("contrastive", profile)).texts
    unet = TextUNet(**network, width=encoder.width, features=encoder.features)
    return TextToImage(unet, encoder, **settings)


BUILDERS: dict[str, Any] = {
    "contrastive": build_contrastive,
    "reader": build_reader,
    "text_to_image": build_generator,
}


def train(name: str, profile: str = "auto") -> tuple[Any, dict[str, list[float]]]:
    """Train the model of this name by its recipe and put it into the cache; return it with its curve."""
    return training.trained_by(recipe(name, profile), name, BUILDERS[name], SceneData, retrain=True)


def pretrained(name: str, profile: str = "auto") -> Any:
    """Return the model of this name: from the cache, else trained first (see `training.trained_by`)."""
    return training.trained_by(recipe(name, profile), name, BUILDERS[name], SceneData)[0]
