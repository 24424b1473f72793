"""A GPT that reads four characters at once, with value residuals and Muon, in bfloat16, in one file.

The model is the course's (aigc_course/gpt.py) in short, with four additions:

- *what stands just before*: to the vector of a token those of the three tokens before it are added, each from a table
  of its own, and one from a table with a row for each pair of tokens: the first layer need not look one place back;
- *value residuals*: every layer adds the values of the first layer to its own, by a share that is learnt (Zhou et al.,
  2025, https://arxiv.org/abs/2410.17897);
- *Muon*: the update of a matrix is its momentum with all singular values brought close to 1 (Jordan et al., 2024,
  https://kellerjordan.github.io/posts/muon/); vectors, embeddings and the last layer are left to AdamW;
- *bfloat16*: products of matrices in half the digits, which this budget turns into more steps.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS, BATCH, CONTEXT = 2_500, 8, 256
LAYERS, HEADS, WIDTH, PAIR = 3, 4, 128, 32
MUON_RATE, ADAM_RATE, WARMUP = 2e-2, 6e-3, 0.02


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


def train(tokens: Tensor, vocab_size: int, seed: int, steps: int = STEPS) -> nn.Module:
    torch.manual_seed(seed)
    model = Model(vocab_size)
    matrices = [weight for weight in model.blocks.parameters() if weight.ndim == 2]
    chosen = {id(weight) for weight in matrices}
    others = [weight for weight in model.parameters() if id(weight) not in chosen]
    optimizers = [
        torch.optim.Muon(matrices, MUON_RATE, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(others, ADAM_RATE, (0.9, 0.99), weight_decay=0.1, fused=True),
    ]
    peaks = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    places = torch.arange(CONTEXT + 1)
    for step in range(steps):
        done = step / steps
        share = min(1.0, (done + 1e-3) / WARMUP, (1 - done) / (1 - WARMUP))
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * share
        windows = tokens[torch.randint(len(tokens) - CONTEXT, (BATCH, 1)) + places]
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(windows[:, :-1])
        loss = F.cross_entropy(logits.float().flatten(0, 1), windows[:, 1:].flatten())
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    return model
