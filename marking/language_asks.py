"""What is asked of the answers to notebooks/exercises/language.py when they are marked.

Each function draws inputs, calls the student's functions, and returns what they returned, as data. It runs in the same
process as the student's code, so it holds nothing that must not be read: no solution, and no expected value.
"""

import math
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from aigc_course.grading.inside import Answers, gradients


def _whole(draw: Generator, low: int, high: int) -> int:
    return int(torch.randint(low, high, (), generator=draw))


def _between(draw: Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=draw, dtype=torch.float64))


def _seed(draw: Generator) -> int:
    return _whole(draw, 0, 2**31)


def game_value(answers: Answers, draw: Generator) -> dict[str, Any]:
    found = []
    for words, contexts, k in ((3, 5, 1), (6, 2, 5), (4, 4, 15)):
        counts = torch.randint(0, 9, (words, contexts), generator=draw).float()
        counts[:, 0] += 1
        counts[0] += 1
        found.append(answers.best_logits(counts, k, 1.0))
    return {"the logits": found}


def game_noise(answers: Answers, draw: Generator) -> dict[str, Any]:
    found, usual = [], []
    for words, contexts, power in ((3, 5, 0.75), (5, 3, 0.5), (2, 6, 0.0)):
        counts = torch.randint(1, 9, (words, contexts), generator=draw).float()
        found.append(answers.best_logits(counts.clone(), 3, power))
        usual.append(answers.best_logits(counts.clone(), 3, 1.0))
    return {"the logits": found, "the logits at power 1": usual}


def loss_pairs(answers: Answers, draw: Generator) -> dict[str, Any]:
    texts, slopes = [], []
    for batch, time, vocab in ((1, 2, 3), (3, 5, 7), (4, 4, 4)):
        tokens = torch.randint(vocab, (batch, time), generator=draw)
        logits = torch.randn(batch, time, vocab, generator=draw).requires_grad_()
        texts.append(tokens)
        slopes += gradients(answers.next_token_loss(logits, tokens.clone()), [logits])
    tokens, logits = torch.randint(4, (1, 3), generator=draw), torch.randn(1, 3, 4, generator=draw)
    before = answers.next_token_loss(logits.clone(), tokens)
    logits[0, 2] += torch.tensor([0.0, 5.0, -3.0, 1.0])
    after = answers.next_token_loss(logits, tokens)
    return {"the gradients": slopes, "with other logits after the last token": [before, after], "tokens": texts}


def loss_mean(answers: Answers, draw: Generator) -> dict[str, Any]:
    # Texts of one repeated token, and a model that says the same everywhere: then what is compared with what, the
    # other check's business, does not matter.
    losses = []
    for batch, time, vocab in ((1, 2, 3), (3, 5, 7), (4, 9, 2)):
        tokens = torch.randint(vocab, (batch, 1), generator=draw)
        logits = 1.5 * torch.randn(batch, 1, vocab, generator=draw)
        losses.append(answers.next_token_loss(logits.repeat(1, time, 1), tokens.repeat(1, time)))
    return {"the loss": losses}


def loss_stable(answers: Answers, draw: Generator) -> dict[str, Any]:
    def loss(gap: int, offset: int = 0) -> Any:
        logits = torch.tensor([gap, 0.0, -60.0]) + offset
        return answers.next_token_loss(logits.repeat(2, 3, 1), torch.ones(2, 3, dtype=torch.long))

    gaps = [low + _whole(draw, 0, 6) for low in (15, 25, 50, 150, 550, 1000, 3000)]
    offsets = [0, *(sign * _whole(draw, *ends) for ends in ((90, 120), (1500, 2040)) for sign in (1, -1))]
    return {
        "gaps": gaps,
        "the loss": [loss(gap) for gap in gaps],
        "the loss when all logits are shifted": [loss(1, offset) for offset in offsets],
    }


def _attended(answers: Answers, draw: Generator, past: int, new: int) -> tuple[Any, Any, list[Tensor]]:
    x, *cache = (torch.randn(3, *shape, generator=draw) for shape in ((new, 5), (past, 3), (past, 3)))
    matrices = torch.randn(3, 5, 3, generator=draw)
    gathered, stored = answers.attend_with_cache(x, tuple(cache), *matrices)
    return gathered, stored, cache


def cache_one(answers: Answers, draw: Generator) -> dict[str, Any]:
    return {"gathered": [_attended(answers, draw, past, 1)[0] for past in (0, 1, 4, 9)]}


def cache_several(answers: Answers, draw: Generator) -> dict[str, Any]:
    return {"gathered": [_attended(answers, draw, *sizes)[0] for sizes in ((0, 4), (1, 2), (4, 3), (2, 6))]}


def cache_stored(answers: Answers, draw: Generator) -> dict[str, Any]:
    found = [_attended(answers, draw, *sizes) for sizes in ((0, 1), (0, 3), (4, 1), (2, 5))]
    return {"stored": [stored for _, stored, _ in found], "the given cache": [cache for _, _, cache in found]}


def turn_angle(answers: Answers, draw: Generator) -> dict[str, Any]:
    found, given = [], []
    for axes, time, dim, base in (((), 3, 2, 10.0), ((3,), 4, 6, 1e4), ((2, 2), 1, 8, 50.0), ((), 3, 16, 1e4)):
        x = torch.randn(*axes, time, dim, generator=draw)
        positions = torch.randint(1, 600, (time,), generator=draw)
        found.append(answers.turn(x, positions, base))
        given.append(x)
    return {"turned": found, "x": given}


def turn_distance(answers: Answers, draw: Generator) -> dict[str, Any]:
    cases = []
    for dim, base in ((2, 10.0), (8, 100.0), (12, 20.0)):
        # pairs of length 1, so that each has a say in the score
        q, k = F.normalize(torch.randn(2, dim // 2, 2, generator=draw), dim=2).view(2, 1, dim)
        shifts = [0, 1, _whole(draw, 10, 30), _whole(draw, 100, 150)]
        # the distances 0, 1, 3 and 10 at four places each, and then more distances
        at = [(distance + shift, shift) for distance in (0, 1, 3, 10) for shift in shifts]
        at += [(distance, 0) for distance in range(0, 120, 10)]
        turned = [
            [answers.turn(vector.clone(), torch.tensor([m]), base) for vector, m in zip((q, k), pair, strict=True)]
            for pair in at
        ]
        cases.append({"q": [pair[0] for pair in turned], "k": [pair[1] for pair in turned]})
    return {"turned": cases}


def adapted_output(answers: Answers, draw: Generator) -> dict[str, Any]:
    found, slopes, frozen = [], [], []
    for outputs, inputs, ranks in ((5, 3, [2]), (3, 6, [1, 4, 2]), (4, 4, [])):
        weight, adapters = answers.make_adapters(outputs, inputs, ranks, seed=_seed(draw))
        x = torch.randn(7, inputs, generator=draw).requires_grad_()
        learning = [x, *(matrix for down, up, _ in adapters for matrix in (down, up))]
        y = answers.adapted(x, weight, adapters)
        *learnt, of_weight = gradients(y.square().sum(), [*learning, weight])
        found.append(y)
        slopes.append(learnt)
        frozen.append(of_weight)
    return {"the output": found, "the gradients": slopes, "the matrix's gradient": frozen}


def merged_matrix(answers: Answers, draw: Generator) -> dict[str, Any]:
    found, kept, given = [], [], []
    for outputs, inputs, ranks in ((5, 3, [2]), (3, 6, [1, 4, 2]), (4, 4, [])):
        for sign in (1, -1):
            weight, adapters = answers.make_adapters(outputs, inputs, ranks, seed=_seed(draw))
            matrix = answers.merged(weight, [(down, up, sign * alpha) for down, up, alpha in adapters])
            found.append(torch.as_tensor(matrix).clone())
            kept.append(getattr(matrix, "requires_grad", False))
            with torch.inference_mode():  # which a tensor made in that mode needs
                matrix += 1.0
            given.append([weight, *(each for down, up, _ in adapters for each in (down, up))])
    return {"the matrix": found, "has a gradient": kept, "what was given": given}


def rank_count(answers: Answers, draw: Generator) -> dict[str, Any]:
    def share(shapes: list[tuple[int, int]], rank: float) -> float:
        return rank * sum(o + i for o, i in shapes) / sum(o * i for o, i in shapes)

    side, wide, high = 8 * 2 ** _whole(draw, 1, 5), _whole(draw, 30, 150), _whole(draw, 30, 150)
    unlike = [(_whole(draw, 300, 600), _whole(draw, 300, 600)), (16, 16)]
    block = [(side, side)] * 4 + [(4 * side, side), (side, 4 * side)]
    cases = [
        ([(side, side)], 0.25),  # exactly the rank side / 8
        ([(wide, high)], 1.0),
        ([(3 * wide, wide), (wide, 3 * wide)], 0.5),
        (unlike, share(unlike, _whole(draw, 6, 20) + _between(draw, 0.2, 0.4))),
        (block, share(block, _whole(draw, 3, 7) + _between(draw, 0.6, 0.8))),
        ([(1000, 2), (2, 2)], share([(1000, 2), (2, 2)], _between(draw, 0.6, 0.9))),
    ]
    return {"the rank": [answers.largest_rank(list(shapes), part) for shapes, part in cases]}


def operations_count(answers: Answers, draw: Generator) -> dict[str, Any]:
    found = []
    for largest in (5, 30, 300):
        sets, each, group, head = (_whole(draw, 2, ends) for ends in (5, 5, 5, largest))
        width = sets * group * head
        sizes = {"layers": 1 + each, "width": width, "heads": sets * group, "sets": sets}
        sizes |= {"hidden": _whole(draw, width, 3 * width), "vocab": _whole(draw, 2, 100 * largest)}
        # a float, since a whole number of these may be longer than 64 bits
        found.append(float(answers.training_operations(**sizes, tokens=_whole(draw, 2, 10 ** (largest // 30 + 2)))))
    return {"the operations": torch.tensor(found, dtype=torch.float64)}


def size_budget(answers: Answers, draw: Generator) -> dict[str, Any]:
    laws, budgets, found = [], [], []
    for _ in range(4):
        law = {"E": _between(draw, 0.5, 2)}
        for factor, power in (("A", "alpha"), ("B", "beta")):
            law |= {factor: 10 ** _between(draw, 1, 3), power: _between(draw, 0.2, 0.6)}
        laws.append(law)
        budgets.append([10 ** _between(draw, low, low + 3) for low in (12, 17, 23)])
        found.append([list(map(float, answers.best_size(budget, dict(law)))) for budget in budgets[-1]])
    return {"laws": laws, "budgets": budgets, "N and D": found}


size_best = size_budget


def cut_kept(answers: Answers, draw: Generator) -> dict[str, Any]:
    found, given = [], []
    for batch, vocab, scale in ((1, 4, 1.0), (5, 30, 1.5), (3, 8, 900.0)):
        for temperature, fraction in ((1.0, 0.1), (0.5, 0.05), (2.0, 0.4)):
            logits = scale * torch.randn(batch, vocab, generator=draw)
            # none so near the limit that rounding decides
            limit = logits.amax(dim=1, keepdim=True) + temperature * math.log(fraction)
            logits = torch.where((logits - limit).abs() < 0.01, logits - 0.1, logits)
            found.append(answers.min_p(logits, temperature, fraction))
            given.append(logits)
    return {"the probabilities": found, "the logits": given}


def draft_exact(answers: Answers, draw: Generator) -> dict[str, Any]:
    models, keep, left = [], [], []
    for batch, vocab in ((3, 4), (6, 20), (2, 5)):
        p, q = answers.two_models(batch, vocab, _seed(draw))
        kept, other = answers.draft_rule(p.clone(), q.clone())
        models.append([p, q])
        keep.append(kept)
        left.append(other)
    return {"p and q": models, "keep": keep, "left": left}


def draft_keep(answers: Answers, draw: Generator) -> dict[str, Any]:
    found = draft_exact(answers, draw)
    return {name: found[name] for name in ("p and q", "keep")}


def draft_left(answers: Answers, draw: Generator) -> dict[str, Any]:
    found = draft_exact(answers, draw)
    return {name: found[name] for name in ("p and q", "left")}


def mistakes_most(answers: Answers, draw: Generator) -> dict[str, Any]:
    return {"the letters": answers.mistakes()}


def mistakes_all(answers: Answers, draw: Generator) -> dict[str, Any]:
    return {"the letters": list(answers.mistakes())}  # how they are put together was the other check's business


def _normal(draw: Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


def bug_loss(answers: Answers, draw: Generator) -> dict[str, Any]:
    # All tokens have the same vector, and each text repeats one: what is predicted from what does not matter.
    losses = []
    for batch, time, vocab in ((1, 2, 3), (3, 6, 5), (2, 4, 9)):
        embedding = torch.randn(3, generator=draw).repeat(vocab, 1).requires_grad_()
        output = torch.randn(3, vocab, generator=draw).requires_grad_()
        tokens = torch.randint(vocab, (batch, 1), generator=draw).repeat(1, time)
        losses.append(answers.training_step(embedding, output, tokens, 0.1))
    return {"the loss": losses, "the graph kept": [getattr(loss, "requires_grad", False) for loss in losses]}


def bug_past(answers: Answers, draw: Generator) -> dict[str, Any]:
    def loss(table: Tensor, output: Tensor, tokens: Tensor) -> Any:
        tables = [each.clone().requires_grad_() for each in (table, output)]
        return answers.training_step(*tables, tokens.clone(), 0.1)

    one_text, four_texts, backwards, last = [], [], [], []
    orders = [torch.randperm(5, generator=draw) for _ in range(2)] + [torch.randint(5, (5,), generator=draw)]
    for order in orders:
        table, output = _normal(draw, 10, 4), _normal(draw, 4, 10)
        tokens = order[None]
        # One text of five tokens, or four texts of two, where the first token of each has the vector of a whole past.
        table[6:] = answers.recent(table[tokens])[0, :4]
        one_text.append(loss(table, output, tokens))
        four_texts.append(loss(table, output, torch.stack([torch.arange(6, 10), order[1:]], dim=1)))
        backwards.append(loss(table, output, tokens.flip(1)))
        # token 5, at the end alone, with one vector and another
        ending = torch.tensor([[*order.tolist(), 5]])
        other = table.clone()
        other[5] += _normal(draw, 4)
        last.append([loss(table, output, ending), loss(other, output, ending)])
    return {
        "one text": one_text,
        "four texts": four_texts,
        "backwards": backwards,
        "with another vector of the last token": last,
    }


def bug_update(answers: Answers, draw: Generator) -> dict[str, Any]:
    cases = []
    for learning_rate in (0.1, 0.5):
        start = [_normal(draw, 6, 3), _normal(draw, 3, 6)]
        tokens = torch.randint(6, (3, 5), generator=draw)

        def step(*tables: Tensor, tokens: Tensor = tokens, learning_rate: float = learning_rate) -> list[Any]:
            tables = tuple(table.clone().requires_grad_() for table in tables)
            for table in tables:
                table.grad = torch.full_like(table, 7.0)  # left over from some earlier step
            return [answers.training_step(*tables, tokens.clone(), learning_rate), list(tables)]

        nearby = []
        for which in (0, 1):
            for _ in range(4):
                shift = [torch.zeros_like(table) for table in start]
                shift[which] = 1e-3 * _normal(draw, *start[which].shape)
                sides = [step(*(t + sign * d for t, d in zip(start, shift, strict=True)))[0] for sign in (1, -1)]
                nearby.append({"shift": shift[which], "losses": sides})
        loss, stepped = step(*start)
        cases.append({"tables": start, "the loss": loss, "the tables after the step": stepped, "nearby": nearby})
    return {"steps": cases, "learning rates": [0.1, 0.5]}
