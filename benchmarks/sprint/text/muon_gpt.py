"""A GPT that reads four characters at once, with value residuals and Muon, in one file.

The model is the course's (aigc_course/gpt.py) in short, with three additions:

- *what stands just before*: to the vector of a token those of the three tokens before it are added, each from a table
  of its own, and one from a table with a row for each pair of tokens: the first layer need not look one place back;
- *value residuals*: every layer adds the values of the first layer to its own, by a share that is learnt (Zhou et al.,
  2025, https://arxiv.org/abs/2410.17897);
- *Muon*: the update of a matrix is its momentum with all singular values brought close to 1 (Jordan et al., 2024,
  https://kellerjordan.github.io/posts/muon/); vectors, embeddings and the last layer are left to AdamW.
  `torch.optim.Muon` computes in bfloat16, which is slow on a processor without instructions for it, so it is written
  out here.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS, BATCH, CONTEXT = 1_270, 8, 256
LAYERS, HEADS, WIDTH, PAIR = 3, 2, 128, 32
MUON_RATE, ADAM_RATE, DECAY, WARMUP = 2e-2, 6e-3, 0.01, 0.02


def normalise(x: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:])


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        nn.init.zeros_(self.out.weight)
        self.share = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor, rotate: tuple[Tensor, Tensor], first: Tensor | None) -> tuple[Tensor, Tensor]:
        q, k, v = (layer(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        if first is not None:
            v = v + self.share * first
        cos, sin = rotate
        turned = []
        for part in (normalise(q), normalise(k)):
            a, b = part.chunk(2, dim=-1)
            turned.append(torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1))
        gathered = F.scaled_dot_product_attention(turned[0], turned[1], v, is_causal=True)
        return self.out(gathered.transpose(1, 2).flatten(2)), v if first is None else first


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor, rotate: tuple[Tensor, Tensor], first: Tensor | None) -> tuple[Tensor, Tensor]:
        gathered, first = self.attention(normalise(x), rotate, first)
        x = x + gathered
        hidden = F.relu(self.up(normalise(x)))
        return x + self.down(hidden * hidden), first


class Model(nn.Module):
    context = CONTEXT
    cos: Tensor
    sin: Tensor

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.embedding = nn.Embedding(vocab_size, WIDTH)
        self.pairs, self.widen = nn.Embedding(vocab_size**2, PAIR), nn.Linear(PAIR, WIDTH, bias=False)
        self.earlier = nn.ModuleList(nn.Embedding(vocab_size, WIDTH) for _ in range(3))
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.head = nn.Linear(WIDTH, vocab_size, bias=False)
        nn.init.normal_(self.pairs.weight, std=0.1)
        for weight in self.earlier.parameters():
            nn.init.normal_(weight, std=0.3)
        nn.init.zeros_(self.head.weight)
        half = WIDTH // HEADS // 2
        angles = torch.outer(torch.arange(CONTEXT), 10_000.0 ** (-torch.arange(half) / half))
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        time = tokens.shape[1]
        back = [F.pad(tokens, (k, 0))[:, :time] for k in (1, 2, 3)]
        pair = back[0] * self.vocab_size + tokens
        x = self.embedding(tokens) + self.widen(self.pairs(pair))
        for table, one in zip(self.earlier, back, strict=True):
            x = x + table(one)
        x, first = normalise(x), None
        for block in self.blocks:
            x, first = block(x, (self.cos[:time], self.sin[:time]), first)
        return self.head(normalise(x))


@torch.no_grad()
def orthogonal(updates: Tensor) -> Tensor:
    """Bring the singular values of matrices of shape (n, rows, columns), rows ≤ columns, near 1."""
    x = updates / updates.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(5):  # an iteration of Newton and Schulz, with the coefficients of Jordan et al.
        square = x @ x.mT
        x = 3.4445 * x + (2.0315 * square @ square - 4.775 * square) @ x
    return x


class Muon:
    """The update of matrices that all have the shape (rows, columns) or (columns, rows)."""

    def __init__(self, matrices: Sequence[Tensor]) -> None:
        self.matrices = matrices
        self.means = [torch.zeros_like(weight) for weight in matrices]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        updates = []
        for weight, mean in zip(self.matrices, self.means, strict=True):
            assert weight.grad is not None
            mean.lerp_(weight.grad, 0.05)
            update = weight.grad.lerp(mean, 0.95)  # Nesterov's way
            updates.append(update.T if len(update) > update.shape[1] else update)
        for weight, update in zip(self.matrices, orthogonal(torch.stack(updates)), strict=True):
            tall = max(1, len(weight) / weight.shape[1])
            weight.mul_(1 - rate * DECAY).sub_(rate * tall**0.5 * (update.T if tall > 1 else update))


def train(tokens: Tensor, vocab_size: int, seed: int, steps: int = STEPS) -> nn.Module:
    torch.manual_seed(seed)
    model = Model(vocab_size)
    matrices = [weight for weight in model.blocks.parameters() if weight.ndim == 2]
    chosen = {id(weight) for weight in matrices}
    others = [weight for weight in model.parameters() if id(weight) not in chosen]
    square = [weight for weight in matrices if len(weight) == weight.shape[1]]
    muons = [Muon(square), Muon([weight for weight in matrices if len(weight) != weight.shape[1]])]
    adam = torch.optim.AdamW(others, ADAM_RATE, (0.9, 0.99), weight_decay=0.1, fused=True)
    places = torch.arange(CONTEXT + 1)
    for step in range(steps):
        done = step / steps
        share = min(1.0, (done + 1e-3) / WARMUP, (1 - done) / (1 - WARMUP))
        windows = tokens[torch.randint(len(tokens) - CONTEXT, (BATCH, 1)) + places]
        loss = F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        adam.zero_grad()
        for weight in matrices:
            weight.grad = None
        loss.backward()
        for muon in muons:
            muon.step(MUON_RATE * share)
        adam.param_groups[0]["lr"] = ADAM_RATE * share
        adam.step()
    return model
