"""Wrong answers to notebooks/exercises/language.py, and the points that each deserves.

For each answer cell (its grade_id) a list of (what is wrong, the code, the points of each check of that question).
The k-th wrong answers of all questions are handed in together, so a check that lets a mistake in one question cost
points in another shows up as well.
"""

Answer = tuple[str, str, dict[str, float]]


def _game(
    value: float,
    noise: float,
    q: str = "n_c**power / (n_c**power).sum()",
    expected: str = "k * n_w * q",
    result: str = "(counts / expected).log()",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def best_logits(counts, k, power):
    n_w, n_c = counts.sum(dim=1, keepdim=True), counts.sum(dim=0, keepdim=True)
    q = {q}
    expected = {expected}
    return {result}"""
    return code, {"game-value": value, "game-noise": noise}


def _loss(
    points: tuple[float, float, float],
    log_p: str = "logits.log_softmax(dim=-1)",
    which: str = "log_p[:, :-1], tokens[:, 1:]",
    result: str = "-found.mean()",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def next_token_loss(logits, tokens):
    log_p = {log_p}
    log_p, target = {which}
    found = log_p.gather(2, target[..., None])
    return {result}"""
    return code, dict(zip(("loss-pairs", "loss-mean", "loss-stable"), points, strict=True))


def _cache(
    points: tuple[float, float, float],
    k: str = "torch.cat([cache[0], new_k], dim=1)",
    v: str = "torch.cat([cache[1], new_v], dim=1)",
    mask: str = "torch.ones(x.shape[1], k.shape[1], dtype=torch.bool).tril(k.shape[1] - x.shape[1])",
    q: str = "x @ w_q",
    stored: str = "k, v",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def attend_with_cache(x, cache, w_q, w_k, w_v):
    new_k, new_v = x @ w_k, x @ w_v
    k, v = {k}, {v}
    mask = {mask}
    scores = {q} @ k.transpose(1, 2) / math.sqrt(k.shape[2])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(dim=2) @ v, ({stored})"""
    return code, dict(zip(("cache-one", "cache-several", "cache-stored"), points, strict=True))


def _turn(
    angle: float,
    distance: float,
    speeds: str = "base ** (-torch.arange(0, dim, 2) / dim)",
    angles: str = "positions[:, None] * speeds",
    pairs: str = "x[..., 0::2], x[..., 1::2]",
    turned: str = "a * cos - b * sin, a * sin + b * cos",
    result: str = "torch.stack([first, second], dim=-1).flatten(-2)",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def turn(x, positions, base):
    dim = x.shape[-1]
    speeds = {speeds}
    angles = {angles}
    cos, sin = angles.cos(), angles.sin()
    a, b = {pairs}
    first, second = {turned}
    return {result}"""
    return code, {"turn-angle": angle, "turn-distance": distance}


def _adapted(
    scale: str = "alpha / down.shape[0]",
    frozen: str = "weight.detach()",
    correction: str = "x @ down.T @ up.T",
    which: str = "adapters",
    result: str = "y",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def adapted(x, weight, adapters):
    y = x @ {frozen}.T
    for down, up, alpha in {which}:
        y = y + {scale} * ({correction})
    return {result}"""
    return code, {"adapted-output": 0}


def _merged(
    begin: str = "weight.detach().clone()",
    scale: str = "alpha / down.shape[0]",
    product: str = "up @ down",
    result: str = "result.detach()",
    points: float = 0,
) -> tuple[str, dict[str, float]]:
    code = f"""\
def merged(weight, adapters):
    result = {begin}
    for down, up, alpha in adapters:
        result.data += {scale} * ({product})
    return {result}"""
    return code, {"merged-matrix": points}


def _rank(result: str) -> tuple[str, dict[str, float]]:
    code = f"""\
def largest_rank(shapes, share):
    frozen = sum(o * i for o, i in shapes)
    each = [o + i for o, i in shapes]
    return {result}"""
    return code, {"rank-count": 0}


def _operations(
    attention: str = "2 * width**2 + 2 * sets * width // heads * width",
    network: str = "2 * hidden * width",
    last: str = "vocab * width",
    result: str = "6 * (layers * block + last) * tokens",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def training_operations(layers, width, heads, sets, hidden, vocab, tokens):
    block = {attention} + {network}
    last = {last}
    return {result}"""
    return code, {"operations-count": 0}


def _size(
    budget: float,
    best: float,
    ratio: str = "a * A / (b * B)",
    spent: str = "budget / 6",
    power: str = "b / (a + b)",
    size: str = "ratio ** (1 / (a + b)) * spent ** power",
    result: str = "n, budget / (6 * n)",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def best_size(budget, law):
    E, A, a, B, b = (law[name] for name in ("E", "A", "alpha", "B", "beta"))
    ratio, spent, power = {ratio}, {spent}, {power}
    n = {size}
    return {result}"""
    return code, {"size-budget": budget, "size-best": best}


def _cut(
    p: str = "(logits / temperature).softmax(dim=-1)",
    limit: str = "fraction * p.amax(dim=-1, keepdim=True)",
    kept: str = "p * (p >= limit)",
    result: str = "kept / kept.sum(dim=-1, keepdim=True)",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def min_p(logits, temperature, fraction):
    p = {p}
    limit = {limit}
    kept = {kept}
    return {result}"""
    return code, {"cut-kept": 0}


def _draft(
    points: tuple[float, float, float],
    keep: str = "torch.where(q > 0, p / q, 0.0).clamp(max=1.0)",
    short: str = "(p - q).clamp(min=0.0)",
    left: str = "torch.where(total > 0, short / total, q)",
    result: str = "keep, left",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def draft_rule(p, q):
    keep = {keep}
    short = {short}
    total = short.sum(dim=-1, keepdim=True)
    left = {left}
    return {result}"""
    return code, dict(zip(("draft-keep", "draft-left", "draft-exact"), points, strict=True))


def _bug(
    points: tuple[float, float, float],
    before: str = "embedding.grad = output.grad = None",
    hidden: str = "recent(embedding[tokens])",
    which: str = "logits[:, :-1], tokens[:, 1:]",
    loss: str = "F.cross_entropy(logits.transpose(1, 2), target)",
    embedding_step: str = "embedding -= learning_rate * embedding.grad",
    output_step: str = "output -= learning_rate * output.grad",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def training_step(embedding, output, tokens, learning_rate):
    {before}
    logits = {hidden} @ output
    logits, target = {which}
    loss = {loss}
    loss.backward()
    with torch.no_grad():
        {embedding_step}
        {output_step}
    return loss.detach()"""
    return code, dict(zip(("bug-loss", "bug-past", "bug-update"), points, strict=True))


def _mistakes(letters: str, most: float, everything: float) -> tuple[str, dict[str, float]]:
    return f"def mistakes():\n    return {letters}", {"mistakes-most": most, "mistakes-all": everything}


_SQUARED = "(logits.softmax(dim=2) - F.one_hot(target, logits.shape[2])).square().mean()"

_RIGHT_UPON_WRONG = """\
def training_step(embedding, output, tokens, learning_rate):
    loss = next_token_loss(recent(embedding[tokens]) @ output, tokens)
    embedding.grad = output.grad = None
    loss.backward()
    with torch.no_grad():
        embedding -= learning_rate * embedding.grad
        output -= learning_rate * output.grad
    return loss.detach()"""

WRONG: dict[str, list[Answer]] = {
    "game": [
        ("the other noise: of the words", *_game(0, 0, q="n_w**power / (n_w**power).sum()")),
        ("log k forgotten", *_game(0, 1, expected="n_w * q")),
        ("log k added", *_game(0, 1, expected="n_w * q / k")),
        ("sign", *_game(0, 0, result="(expected / counts).log()")),
        ("in bits", *_game(0, 0, result="(counts / expected).log2()")),
        ("never below 0", *_game(0, 0, result="(counts / expected).log().clamp(min=0)")),
        ("1 added to each count", *_game(0, 1, result="((counts + 1) / expected).log()")),
        ("the power ignored", *_game(1, 0, q="n_c / n_c.sum()")),
        ("the noise not divided by its sum", *_game(0, 0, q="n_c**power")),
        ("the power of shares, not divided by their sum", *_game(1, 0, q="(n_c / n_c.sum()) ** power")),
        ("the power of the whole", *_game(1, 0, q="n_c / n_c.sum()", result="power * (counts / expected).log()")),
        ("the inverse power", *_game(1, 0, q="n_c ** (1 / max(power, 0.1)) / (n_c ** (1 / max(power, 0.1))).sum()")),
        ("the share of real ones", *_game(0, 0, result="counts / (counts + expected)")),
    ],
    "loss": [
        ("no shift", *_loss((0, 1, 1), which="log_p, tokens")),
        ("shifted the wrong way", *_loss((0, 1, 1), which="log_p[:, 1:], tokens[:, :-1]")),
        ("sum", *_loss((1, 0, 1), result="-found.sum()")),
        ("bits", *_loss((1, 0, 1), result="-found.mean() / math.log(2)")),
        ("sign", *_loss((1, 0, 1), result="found.mean()")),
        ("divided by all positions", *_loss((1, 0, 1), result="-found.sum() / tokens.numel()")),
        ("logarithm of a softmax", *_loss((1, 1, 0), log_p="logits.softmax(dim=-1).log()")),
        ("a little added", *_loss((1, 1, 0), log_p="(logits.softmax(dim=-1) + 1e-9).log()")),
        ("exponentials without care", *_loss((1, 1, 0), log_p="logits - logits.exp().sum(dim=-1, keepdim=True).log()")),
        ("softmax over the positions", *_loss((0, 0, 0), log_p="logits.log_softmax(dim=1)")),
        ("the probability", *_loss((1, 0, 0), log_p="logits.softmax(dim=-1)")),
        ("the last token only", *_loss((0, 1, 1), which="log_p[:, -2:-1], tokens[:, -1:]")),
    ],
    "cache": [
        ("the new position left out", *_cache((0, 0, 1), mask="torch.arange(k.shape[1]) < cache[0].shape[1]")),
        ("no mask", *_cache((1, 0, 1), mask="None")),
        (
            "the mask of the first positions",
            *_cache((0, 0, 1), mask="torch.ones(x.shape[1], k.shape[1], dtype=torch.bool).tril()"),
        ),
        ("the old cache returned", *_cache((1, 1, 0), stored="*cache,")),
        (
            "new ones in front",
            *_cache((1, 0, 0), "torch.cat([new_k, cache[0]], dim=1)", "torch.cat([new_v, cache[1]], dim=1)"),
        ),
        ("keys and values exchanged", *_cache((1, 1, 0), stored="v, k")),
        ("only the new ones stored", *_cache((1, 1, 0), stored="new_k, new_v")),
        ("only the new ones seen", *_cache((0, 0, 1), mask="(torch.arange(k.shape[1]) >= cache[0].shape[1])")),
        ("queries for keys", *_cache((0, 0, 0), k="torch.cat([cache[0], x @ w_q], dim=1)")),
        ("keys for queries", *_cache((0, 0, 1), q="new_k")),
        ("the vectors themselves stored", *_cache((1, 1, 0), stored="x, x")),
    ],
    "turn": [
        (
            "halves for neighbours",
            *_turn(0, 1, pairs="x.chunk(2, dim=-1)", result="torch.cat([first, second], dim=-1)"),
        ),
        (
            "neighbours taken, halves put back",
            *_turn(0, 0, result="torch.cat([first, second], dim=-1)"),
        ),
        ("the other way round", *_turn(0, 1, turned="a * cos + b * sin, b * cos - a * sin")),
        ("one speed for all pairs", *_turn(0, 1, speeds="torch.ones(dim // 2)")),
        ("half the exponent", *_turn(0, 1, speeds="base ** (-torch.arange(dim // 2) / dim)")),
        ("the exponent's sign", *_turn(0, 1, speeds="base ** (torch.arange(0, dim, 2) / dim)")),
        ("places for positions", *_turn(0, 0, angles="torch.arange(len(positions))[:, None] * speeds")),
        ("positions from 1", *_turn(0, 0, angles="(positions[:, None] + 1) * speeds")),
        ("degrees", *_turn(0, 1, angles="(positions[:, None] * speeds).deg2rad()")),
        ("a sine and a cosine too few", *_turn(0, 0, turned="a * cos - b, a + b * cos")),
        ("one sign wrong", *_turn(0, 0, turned="a * cos - b * sin, b * cos - a * sin")),
        (
            "the first number used when it has changed",
            *_turn(0, 0, turned="(a := a * cos - b * sin), a * sin + b * cos"),
        ),
        ("added, not turned", *_turn(0, 0, turned="a + cos, b + sin")),
        ("the positions ignored", *_turn(0, 0, angles="speeds + 0 * positions[:, None]")),
        (
            "in place",
            *_turn(0, 1, result="x.copy_(torch.stack([first, second], dim=-1).flatten(-2))"),
        ),
    ],
    "adapted": [
        ("alpha, not divided by r", *_adapted(scale="alpha")),
        ("divided by the inputs", *_adapted(scale="alpha / down.shape[1]")),
        ("divided by the outputs", *_adapted(scale="alpha / up.shape[0]")),
        ("the scale forgotten", *_adapted(scale="1")),
        ("the first adapter only", *_adapted(which="adapters[:1]")),
        ("the first one's scale for all", *_adapted(scale="adapters[0][2] / len(adapters[0][0])")),
        ("the matrix learns", *_adapted(frozen="weight")),
        ("A learns nothing", *_adapted(correction="x @ down.detach().T @ up.T")),
        ("B learns nothing", *_adapted(correction="x @ down.T @ up.detach().T")),
        ("x gets no gradient from the adapters", *_adapted(correction="x.detach() @ down.T @ up.T")),
        ("nothing learns", *_adapted(result="y.detach()")),
        ("one after the other", *_adapted(correction="y @ torch.linalg.pinv(weight.detach()).T @ down.T @ up.T")),
        ("the matrix not transposed", *_adapted(frozen="weight.detach().T")),
    ],
    "merged": [
        ("in place", *_merged(begin="weight")),
        ("the given memory shared", *_merged(begin="weight.detach()")),
        ("alpha, not divided by r", *_merged(scale="alpha")),
        ("with a gradient", *_merged(begin="weight.clone()", result="result")),
        ("the correction alone", *_merged(begin="torch.zeros_like(weight)")),
        ("subtracted", *_merged(scale="-alpha / down.shape[0]")),
        ("divided by the inputs", *_merged(scale="alpha / down.shape[1]")),
        ("the size of alpha only", *_merged(scale="abs(alpha) / down.shape[0]")),
        ("number by number", *_merged(product="up.mean(dim=1, keepdim=True) * down.mean(dim=0)")),
        (
            # Not wrong: it calls the function before, which is wrong in the same notebook.
            "right, upon wrong functions",
            """\
def merged(weight, adapters):
    return adapted(torch.eye(weight.shape[1]), weight, adapters).T.detach().clone()""",
            {"merged-matrix": 1},
        ),
    ],
    "rank": [
        ("rounded", *_rank("round(share * frozen / sum(each))")),
        ("upwards", *_rank("math.ceil(share * frozen / sum(each))")),
        ("not whole", *_rank("share * frozen / sum(each)")),
        ("at least 1", *_rank("max(1, int(share * frozen / sum(each)))")),
        ("A only", *_rank("int(share * frozen / sum(i for _, i in shapes))")),
        ("as many as the matrix has", *_rank("int(share * frozen / sum(o * i for o, i in shapes))")),
        ("each matrix for itself", *_rank("min(int(share * o * i / (o + i)) for o, i in shapes)")),
        ("of all parameters, the new ones too", *_rank("int(share * frozen / (1 + share) / sum(each))")),
        ("the first matrix alone", *_rank("int(share * shapes[0][0] * shapes[0][1] / each[0])")),
    ],
    "operations": [
        ("forwards only", *_operations(result="2 * (layers * block + last) * tokens")),
        ("backwards as costly as forwards", *_operations(result="4 * (layers * block + last) * tokens")),
        ("as many sets as heads", *_operations(attention="4 * width**2")),
        ("keys alone", *_operations(attention="2 * width**2 + sets * width // heads * width")),
        ("sets instead of heads per set", *_operations(attention="2 * width**2 + 2 * heads // sets * width")),
        ("one matrix of the network", *_operations(network="hidden * width")),
        ("a network four times as wide", *_operations(network="8 * width**2")),
        ("the last layer forgotten", *_operations(last="0")),
        ("the embedding counted too", *_operations(last="2 * vocab * width")),
        ("the last layer in every block", *_operations(result="6 * layers * (block + last) * tokens")),
        ("tokens forgotten", *_operations(result="6 * (layers * block + last)")),
    ],
    "size": [
        ("the 6 forgotten", *_size(0, 1, spent="budget", result="n, budget / n")),
        ("the 6 forgotten in the text", *_size(0, 0, result="n, budget / n")),
        ("the 6 forgotten in the size", *_size(1, 0, spent="budget")),
        ("both terms equal", *_size(1, 0, ratio="A / B")),
        ("the exponents exchanged", *_size(1, 0, ratio="b * A / (a * B)")),
        ("the constants exchanged", *_size(1, 0, ratio="b * B / (a * A)")),
        ("the growth of the text", *_size(1, 0, power="a / (a + b)")),
        ("the growth alone", *_size(1, 0, ratio="1")),
        ("the square root", *_size(1, 0, size="spent ** 0.5")),
        ("a root too few", *_size(1, 0, size="ratio * spent ** power")),
        ("text before size", *_size(1, 0, result="budget / (6 * n), n")),
        ("all for the size", *_size(0, 0, size="spent", result="n, 1.0")),
        (
            "right for half the budget",
            *_size(0, 1, spent="budget / 12", result="n, budget / (12 * n)"),
        ),
        (
            "tokens per parameter by rule of thumb",
            *_size(1, 0, size="(budget / 120) ** 0.5", result="n, 20 * n"),
        ),
    ],
    "cut": [
        ("an absolute limit", *_cut(limit="fraction")),
        ("not divided by the sum", *_cut(result="kept")),
        (
            "the temperature after the cut",
            *_cut(p="logits.softmax(dim=-1)", result="F.normalize(kept ** (1 / temperature), p=1, dim=-1)"),
        ),
        ("multiplied by the temperature", *_cut(p="(logits * temperature).softmax(dim=-1)")),
        ("the temperature ignored", *_cut(p="logits.softmax(dim=-1)")),
        ("the largest of the whole batch", *_cut(limit="fraction * p.max()")),
        (
            "the first p of the probability",
            *_cut(kept="p * (p.sort().values.cumsum(-1).gather(-1, p.argsort().argsort()) > fraction)"),
        ),
        ("below the limit", *_cut(kept="p * (p <= limit)")),
        ("a fraction of the logit", *_cut(kept="p * (logits >= fraction * logits.amax(dim=-1, keepdim=True))")),
        ("the softmax once more", *_cut(result="kept.softmax(dim=-1)")),
        (
            "exponentials without care",
            *_cut(p="(logits / temperature).exp() / (logits / temperature).exp().sum(dim=-1, keepdim=True)"),
        ),
        ("the most probable one alone", *_cut(kept="p * (p == p.amax(dim=-1, keepdim=True))")),
    ],
    "draft": [
        ("p on refusal", *_draft((1, 0, 0), left="p + 0 * total")),
        ("upside down", *_draft((0, 1, 0), keep="torch.where(p > 0, q / p, 0.0).clamp(max=1.0)")),
        ("not a number where q is 0", *_draft((0, 1, 0), keep="(p / q).clamp(max=1.0)")),
        ("above 1", *_draft((0, 1, 0), keep="torch.where(q > 0, p / q, 0.0)")),
        ("always kept", *_draft((0, 1, 0), keep="torch.ones_like(p)")),
        ("kept with the model's probability", *_draft((0, 1, 0), keep="p")),
        ("kept if the model likes it better", *_draft((0, 1, 0), keep="(p >= q).float()")),
        ("not divided by its sum", *_draft((1, 0, 0), left="short")),
        ("not a number where p equals q", *_draft((1, 0, 0), left="short / total")),
        ("the draft's surplus", *_draft((1, 0, 0), short="(q - p).clamp(min=0.0)")),
        ("the difference's size", *_draft((1, 0, 0), short="(p - q).abs()")),
        (
            "negative numbers left",
            *_draft((1, 0, 0), short="p - q", left="(p - q) / (p - q).abs().sum(-1, keepdim=True).clamp(min=1e-9)"),
        ),
        ("divided by the sum of the whole batch", *_draft((1, 0, 0), left="short / short.sum()")),
        ("nothing is ever kept", *_draft((0, 0, 0), keep="torch.zeros_like(p)", left="p + 0 * total")),
        (
            "half as often as possible, and exact all the same",
            *_draft(
                (0, 0, 1),
                keep="0.5 * torch.where(q > 0, p / q, 0.0).clamp(max=1.0)",
                short="p - 0.5 * torch.minimum(p, q)",
            ),
        ),
        ("exchanged", *_draft((0, 0, 0), result="left, keep")),
    ],
    "mistakes": [
        ("four of five", *_mistakes('"BDEGA"', 1, 0)),
        ("three of five", *_mistakes('"BDEAC"', 0, 0)),
        ("the other five", *_mistakes('"ACFHI"', 0, 0)),
        ("all ten", *_mistakes('"ABCDEFGHIJ"', 0, 0)),
        ("with commas", *_mistakes('"B, D, E, G, J"', 0, 0)),
        ("a letter twice", *_mistakes('"BBDEG"', 0, 0)),
        ("nothing", *_mistakes("None", 0, 0)),
        ("a list of the right five", *_mistakes('["B", "D", "E", "G", "J"]', 0, 2)),
    ],
    "bug": [
        (
            "all five mistakes left",
            *_bug((0, 0, 0), "pass", "embedding[tokens]", "logits, tokens", _SQUARED, embedding_step="pass"),
        ),
        ("the squared error", *_bug((0, 1, 1), loss=_SQUARED)),
        ("no shift", *_bug((1, 0, 1), which="logits, tokens")),
        ("from the last token alone", *_bug((1, 0, 1), hidden="embedding[tokens]")),
        (
            "the whole text for every token",
            *_bug((1, 0, 1), hidden="embedding[tokens].mean(dim=1, keepdim=True).expand(-1, tokens.shape[1], -1)"),
        ),
        ("embeddings that never learn", *_bug((1, 1, 0), embedding_step="pass")),
        ("gradients that pile up", *_bug((1, 1, 0), before="pass")),
        (
            "uphill",
            *_bug(
                (1, 1, 0),
                embedding_step="embedding += learning_rate * embedding.grad",
                output_step="output += learning_rate * output.grad",
            ),
        ),
        (
            "the learning rate forgotten",
            *_bug((1, 1, 0), embedding_step="embedding -= embedding.grad", output_step="output -= output.grad"),
        ),
        ("sum", *_bug((0, 1, 1), loss="F.cross_entropy(logits.transpose(1, 2), target, reduction='sum')")),
        ("shifted the wrong way", *_bug((1, 0, 1), which="logits[:, 1:], tokens[:, :-1]")),
        (
            # Not wrong: it calls the function of question 2, which is wrong in the same notebook.
            "right, upon wrong functions",
            _RIGHT_UPON_WRONG,
            {"bug-loss": 1, "bug-past": 1, "bug-update": 1},
        ),
    ],
}

# Right, but written otherwise than the solution: no check may insist on one way to write an answer.
OTHERWISE: dict[str, str] = {
    "game": """\
def best_logits(counts, k, power):
    warnings.warn("this is not a mistake")
    pmi = counts.log() - counts.sum(1)[:, None].log() - counts.sum(0).log() + counts.sum().log()
    p = counts.sum(0) / counts.sum()
    q = p**power / (p**power).sum()
    return pmi + (p / q).log() - math.log(k)""",
    "loss": """\
def next_token_loss(logits, tokens):
    losses = []
    for row, text in zip(logits, tokens):
        for scores, token in zip(row, text[1:]):
            losses.append(scores.logsumexp(dim=0) - scores[token])
    return torch.stack(losses).mean()""",
    "cache": """\
def attend_with_cache(x, cache, w_q, w_k, w_v):
    gathered = []
    for new in x.split(1, dim=1):
        cache = [torch.cat([old, new @ w], dim=1) for old, w in zip(cache, (w_k, w_v))]
        gathered.append(F.scaled_dot_product_attention(new @ w_q, *cache))
    return [torch.cat(gathered, dim=1), cache]""",
    "turn": """\
def turn(x, positions, base):
    dim = x.shape[-1]
    turned = x.clone()
    for i in range(dim // 2):
        angle = positions / base ** (2 * i / dim)
        turned[..., 2 * i] = x[..., 2 * i] * torch.cos(angle) - x[..., 2 * i + 1] * torch.sin(angle)
        turned[..., 2 * i + 1] = x[..., 2 * i] * torch.sin(angle) + x[..., 2 * i + 1] * torch.cos(angle)
    return turned""",
    "adapted": """\
def adapted(x, weight, adapters):
    whole = weight.detach()
    for a, b, alpha in adapters:
        whole = whole + torch.einsum("or,ri->oi", b, a) * alpha / a.size(0)
    return F.linear(x, whole)""",
    "merged": """\
@torch.no_grad()
def merged(weight, adapters):
    eye = torch.eye(weight.shape[1])
    return sum([eye @ a.T @ b.T * (alpha / b.shape[1]) for a, b, alpha in adapters], start=eye @ weight.T).T""",
    "rank": """\
def largest_rank(shapes, share):
    rank = 0
    while sum((rank + 1) * (o + i) for o, i in shapes) <= share * sum(o * i for o, i in shapes):
        rank += 1
    return rank""",
    "operations": """\
def training_operations(layers, width, heads, sets, hidden, vocab, tokens):
    sizes = [width * width, width * width, hidden * width, width * hidden]
    sizes += [sets * width / heads * width] * 2
    forwards = 2 * tokens * (layers * sum(sizes) + vocab * width)
    return forwards + 2 * forwards""",
    "size": """\
def best_size(budget, law):
    def loss(log_n):
        n = math.exp(log_n)
        return law["A"] / n ** law["alpha"] + law["B"] / (budget / 6 / n) ** law["beta"]

    low, high = 0.0, math.log(budget)
    for _ in range(100):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        low, high = (a, high) if loss(a) > loss(b) else (low, b)
    n = math.exp((low + high) / 2)
    return torch.tensor([n, budget / 6 / n])""",
    "cut": """\
def min_p(logits, temperature, fraction):
    logits = logits / temperature
    outside = logits < logits.max(dim=1, keepdim=True).values + math.log(fraction)
    return logits.masked_fill(outside, -math.inf).softmax(dim=1)""",
    "draft": """\
def draft_rule(p, q):
    both = torch.minimum(p, q)
    keep = both / q.clamp(min=1e-30)
    left = p - both
    rows = left.sum(dim=1) > 0
    left[rows] /= left[rows].sum(dim=1, keepdim=True)
    left[~rows] = 1 / p.shape[1]
    return [keep, left]""",
    "mistakes": """\
def mistakes():
    return "".join(letter for letter in "ABCDEFGHIJ" if letter not in "ACFHI")""",
    "bug": """\
def training_step(embedding, output, tokens, learning_rate):
    optimiser = torch.optim.SGD([embedding, output], lr=learning_rate)
    optimiser.zero_grad()
    log_p = (recent(F.embedding(tokens[:, :-1], embedding)) @ output).log_softmax(dim=-1)
    loss = F.nll_loss(log_p.flatten(0, 1), tokens[:, 1:].reshape(-1))
    loss.backward()
    optimiser.step()
    return loss.item()""",
}

# Right in other ways that students have: for each way of writing its answers; the solution's stand for the rest. What
# stands under "setup" is added to the setup cell.
RIGHT: dict[str, dict[str, str]] = {
    "in double precision": {
        "game": """\
def best_logits(counts, k, power):
    counts = counts.double()
    noise = counts.sum(0).pow(power)
    return torch.log(counts) - torch.log(counts.sum(1, True)) - torch.log(noise / noise.sum()) - math.log(k)""",
        "loss": """\
def next_token_loss(logits, tokens):
    logits = logits.double()[:, :-1]
    right = torch.gather(logits, 2, tokens[:, 1:].unsqueeze(2)).squeeze(2)
    return (torch.logsumexp(logits, 2) - right).mean()""",
        "cache": """\
def attend_with_cache(x, cache, w_q, w_k, w_v):
    x, w_q, w_k, w_v = (each.double() for each in (x, w_q, w_k, w_v))
    keys, values = (torch.cat([old.double(), x @ w], 1) for old, w in zip(cache, (w_k, w_v)))
    bias = torch.zeros(x.size(1), keys.size(1), dtype=torch.float64)
    bias[torch.ones_like(bias).triu(keys.size(1) - x.size(1) + 1).bool()] = float("-inf")
    return F.scaled_dot_product_attention(x @ w_q, keys, values, attn_mask=bias), (keys, values)""",
        "turn": """\
def turn(x, positions, base):
    x = x.double()
    half = x.shape[-1] // 2
    angles = torch.outer(positions.double(), base ** (-torch.arange(half, dtype=torch.float64) / half))
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], half, 2))
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)""",
        "adapted": """\
def adapted(x, weight, adapters):
    y = F.linear(x.double(), weight.detach().double())
    for a, b, alpha in adapters:
        y += (alpha / a.shape[0]) * F.linear(F.linear(x.double(), a.double()), b.double())
    return y""",
        "merged": """\
def merged(weight, adapters):
    with torch.no_grad():
        return weight.double() + sum(alpha / a.shape[0] * (b.double() @ a.double()) for a, b, alpha in adapters)""",
        "size": """\
def best_size(budget, law):
    _, A, a, B, b = torch.tensor([law[n] for n in ("E", "A", "alpha", "B", "beta")], dtype=torch.float64)
    n = torch.exp((torch.log(a * A) - torch.log(b * B) + b * math.log(budget / 6)) / (a + b))
    return n, budget / 6 / n""",
        "cut": """\
def min_p(logits, temperature, fraction):
    p = torch.softmax(logits.double() / temperature, -1)
    p[p < fraction * p.max(-1, keepdim=True)[0]] = 0
    return p / p.sum(-1, keepdim=True)""",
        "draft": """\
def draft_rule(p, q):
    p, q = p.double(), q.double()
    keep = torch.nan_to_num(p / q, nan=0.0, posinf=1.0).clamp(0, 1)
    left = F.relu(p - q)
    left = left + (left.sum(1, keepdim=True) == 0) * p
    return keep, left / left.sum(1, keepdim=True)""",
        "bug": _RIGHT_UPON_WRONG,
    },
    "in NumPy where no gradient is asked for": {
        "setup": "import numpy as np",
        "game": """\
def best_logits(counts, k, power):
    n = counts.numpy().astype(float)
    noise = n.sum(0) ** power
    with np.errstate(divide="ignore"):
        return torch.from_numpy(np.log(n / n.sum(1, keepdims=True) / noise * noise.sum() / k))""",
        "cache": """\
def attend_with_cache(x, cache, w_q, w_k, w_v):
    x, w_q, w_k, w_v = (each.numpy() for each in (x, w_q, w_k, w_v))
    keys = np.concatenate([cache[0].numpy(), x @ w_k], 1)
    values = np.concatenate([cache[1].numpy(), x @ w_v], 1)
    scores = x @ w_q @ np.swapaxes(keys, 1, 2) / keys.shape[2] ** 0.5
    scores += np.where(np.tri(x.shape[1], keys.shape[1], keys.shape[1] - x.shape[1]), 0, -np.inf)
    weights = np.exp(scores - scores.max(2, keepdims=True))
    gathered = weights / weights.sum(2, keepdims=True) @ values
    return torch.as_tensor(gathered), (torch.as_tensor(keys), torch.as_tensor(values))""",
        "turn": """\
def turn(x, positions, base):
    x, dim = x.numpy(), x.shape[-1]
    angles = positions.numpy()[:, None] / base ** (np.arange(0, dim, 2) / dim)
    turned = (x[..., ::2] + 1j * x[..., 1::2]) * np.exp(1j * angles)
    return torch.from_numpy(np.stack([turned.real, turned.imag], -1).reshape(x.shape))""",
        "merged": """\
def merged(weight, adapters):
    total = weight.detach().numpy().copy()
    for a, b, alpha in adapters:
        total = total + alpha / len(a) * np.matmul(b.detach().numpy(), a.detach().numpy())
    return torch.from_numpy(total)""",
        "rank": """\
def largest_rank(shapes, share):
    sizes = np.array(shapes)
    return int(np.floor(share * sizes.prod(axis=1).sum() / sizes.sum()))""",
        "operations": """\
def training_operations(layers, width, heads, sets, hidden, vocab, tokens):
    rows = np.array([width, 2 * sets * width // heads, width, 2 * hidden], dtype=float)
    return 6.0 * tokens * (layers * rows.sum() * width + vocab * width)""",
        "size": """\
def best_size(budget, law):
    _, A, a, B, b = (np.float64(law[n]) for n in ("E", "A", "alpha", "B", "beta"))
    n = (a * A / b / B * (budget / 6) ** b) ** (1 / (a + b))
    return np.array([n, budget / 6 / n])""",
        "cut": """\
def min_p(logits, temperature, fraction):
    z = logits.numpy().astype(np.float64) / temperature
    p = np.exp(z - z.max(1, keepdims=True))
    p[p < fraction] = 0
    return torch.tensor(p / p.sum(1, keepdims=True))""",
        "draft": """\
def draft_rule(p, q):
    p, q = p.numpy(), q.numpy()
    keep = np.minimum(1, np.divide(p, q, out=np.zeros_like(p), where=q > 0))
    left = np.maximum(p - q, 0)
    left[left.sum(1) == 0] = 1
    return torch.from_numpy(keep), torch.from_numpy(left / left.sum(1, keepdims=True))""",
    },
    "one by one": {
        "game": """\
def best_logits(counts, k, power):
    words, contexts = counts.shape
    n_c = [sum(counts[w, c].item() for w in range(words)) for c in range(contexts)]
    result = torch.full((words, contexts), -math.inf)
    for w in range(words):
        n_w = sum(counts[w, c].item() for c in range(contexts))
        for c in range(contexts):
            if counts[w, c] > 0:
                q = n_c[c] ** power / sum(n**power for n in n_c)
                result[w, c] = math.log(counts[w, c].item() / (k * n_w * q))
    return result""",
        "loss": OTHERWISE["loss"],
        "cache": OTHERWISE["cache"],
        "turn": """\
def turn(x, positions, base):
    if x.dim() > 2:
        return torch.stack([turn(each, positions, base) for each in x])
    rows = []
    for vector, m in zip(x, positions):
        row = []
        for i in range(len(vector) // 2):
            angle = m.item() * base ** (-2 * i / len(vector))
            a, b = vector[2 * i], vector[2 * i + 1]
            row += [a * math.cos(angle) - b * math.sin(angle), a * math.sin(angle) + b * math.cos(angle)]
        rows.append(torch.stack(row))
    return torch.stack(rows)""",
        "adapted": """\
def adapted(x, weight, adapters):
    rows = []
    for example in x:
        y = weight.detach() @ example
        for a, b, alpha in adapters:
            y = y + alpha / len(a) * (b @ (a @ example))
        rows.append(y)
    return torch.stack(rows)""",
        "merged": """\
def merged(weight, adapters):
    outputs, inputs = weight.shape
    result = torch.zeros(outputs, inputs)
    for o in range(outputs):
        for i in range(inputs):
            result[o, i] = weight[o, i].item()
            for a, b, alpha in adapters:
                result[o, i] += alpha / len(a) * sum(b[o, j].item() * a[j, i].item() for j in range(len(a)))
    return result""",
        "rank": OTHERWISE["rank"],
        "operations": OTHERWISE["operations"],
        "size": OTHERWISE["size"],
        "cut": """\
def min_p(logits, temperature, fraction):
    rows = []
    for row in logits:
        p = (row / temperature).softmax(dim=0).tolist()
        kept = [share if share >= fraction * max(p) else 0.0 for share in p]
        rows.append([share / sum(kept) for share in kept])
    return torch.tensor(rows)""",
        "draft": """\
def draft_rule(p, q):
    keep, left = torch.zeros_like(p), torch.zeros_like(p)
    for row in range(len(p)):
        total = sum(max(0.0, a - b) for a, b in zip(p[row].tolist(), q[row].tolist()))
        for x, (a, b) in enumerate(zip(p[row].tolist(), q[row].tolist())):
            keep[row, x] = min(1.0, a / b) if b > 0 else 0.5
            left[row, x] = max(0.0, a - b) / total if total > 0 else b
    return keep, left""",
    },
    "in place, on copies": {
        "game": """\
def best_logits(counts, k, power):
    logits = counts.clone()
    logits /= counts.sum(dim=1, keepdim=True)
    noise = counts.sum(dim=0).pow_(power)
    noise /= noise.sum()
    logits /= noise
    return logits.div_(k).log_()""",
        "turn": """\
def turn(x, positions, base):
    out = x.clone()
    dim = x.size(-1)
    theta = 1.0 / (base ** (torch.arange(0, dim, 2).float() / dim))
    angles = torch.einsum("t,i->ti", positions.float(), theta)
    out[..., ::2] *= angles.cos()
    out[..., ::2] -= x[..., 1::2] * angles.sin()
    out[..., 1::2] *= angles.cos()
    out[..., 1::2] += x[..., ::2] * angles.sin()
    return out""",
        "merged": """\
def merged(weight, adapters):
    result = weight.detach().clone()
    for a, b, alpha in adapters:
        result.addmm_(b.detach(), a.detach(), alpha=alpha / a.shape[0])
    return result""",
        "cut": """\
def min_p(logits, temperature, fraction):
    p = logits.clone()
    p /= temperature
    p = p.softmax(dim=1)
    p[p < fraction * p.max(dim=1, keepdim=True).values] = 0.0
    p /= p.sum(dim=1, keepdim=True)
    return p""",
        "bug": """\
def training_step(embedding, output, tokens, learning_rate):
    for table in (embedding, output):
        if table.grad is not None:
            table.grad.zero_()
    loss = next_token_loss(recent(embedding[tokens]) @ output, tokens)
    loss.backward()
    embedding.data -= learning_rate * embedding.grad
    output.data -= learning_rate * output.grad
    return loss.item()""",
    },
    "with star imports": {
        "setup": "from numpy import *\nfrom torch.nn.functional import *\nfrom math import *",
        "loss": """\
def next_token_loss(logits, tokens):
    return cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:])""",
        "cache": """\
def attend_with_cache(x, cache, w_q, w_k, w_v):
    k, v = torch.cat([cache[0], x @ w_k], 1), torch.cat([cache[1], x @ w_v], 1)
    scores = x @ w_q @ k.mT / sqrt(k.shape[2])
    later = torch.arange(k.shape[1]) > torch.arange(cache[0].shape[1], k.shape[1])[:, None]
    return softmax(scores.masked_fill(later, -inf), dim=-1) @ v, (k, v)""",
        "rank": """\
def largest_rank(shapes, share):
    frozen = sum([outputs * inputs for outputs, inputs in shapes])
    return int(floor(share * frozen / sum(shapes)))""",
        "cut": """\
def min_p(logits, temperature, fraction):
    p = softmax(logits / temperature, dim=-1)
    kept = p * (p >= fraction * p.amax(-1, True))
    return normalize(kept, p=1, dim=-1)""",
    },
    # Functions that take more than their docstrings say, and steps that rely on it.
    "generous functions": {
        "game": """\
def best_logits(counts, k=1, power=0.75, smoothing=0.0):
    counts = torch.as_tensor(counts) + smoothing
    noise = counts.sum(dim=-2) ** power
    return (counts / counts.sum(dim=-1, keepdim=True) / (k * noise / noise.sum())).log()""",
        "loss": """\
def next_token_loss(logits, tokens):
    if tokens.dim() == 1:
        logits, tokens = logits[None], tokens[None]
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:])""",
        "merged": """\
def merged(weight, adapters=None):
    with torch.no_grad():
        columns = adapted(torch.eye(weight.shape[1]), weight, adapters or [])
        return columns.T.contiguous()""",
        "bug": """\
def training_step(embedding, output, tokens, learning_rate):
    logits = recent(embedding[tokens]) @ output
    loss = torch.stack([next_token_loss(row, text) for row, text in zip(logits, tokens)]).mean()
    gradients = torch.autograd.grad(loss, [embedding, output])
    with torch.no_grad():
        for table, gradient in zip([embedding, output], gradients):
            table -= learning_rate * gradient
    return loss.detach()""",
    },
}

_SHARED_MEMORY = (
    "The given matrix changes together with yours. Work on a copy that shares no memory with it, and leave what you "
    "are given as it is."
)

# What a student who gave this answer is told.
DIAGNOSES: dict[str, dict[str, str]] = {
    "game": {
        "the other noise: of the words": "Your noise has the frequencies of the words, the rows; contexts are drawn, "
        "so it takes the frequencies of the columns.",
        "log k forgotten": "k is missing: k contexts are drawn for each real pair, so noise is k times as frequent.",
        "log k added": "k enters with the wrong sign: with more noise a pair is less likely to be real, so the logit "
        "must fall as k grows.",
        "sign": "The logit has the wrong sign: a pair that is real more often than it is drawn as noise has a "
        "positive logit.",
        "in bits": "This is the logarithm to base 2; all logarithms here are natural.",
        "never below 0": "Your logits stop at 0. A pair that is drawn as noise more often than it is real has a "
        "negative logit.",
        "1 added to each count": "You added 1 to each count. That is a common way to avoid zeros, but it moves the "
        "minimum: a pair that never occurred has the logit minus infinity.",
        "the power ignored": "The power has no influence on your logits: the noise is drawn from the contexts' "
        "frequencies to the power s.",
        "the noise not divided by its sum": "Your noise does not sum to 1: the powers of the counts have to be "
        "divided by their sum.",
        "the power of shares, not divided by their sum": "You took the power of the contexts' shares, but such powers "
        "no longer sum to 1; divide them by their sum.",
        "the power of the whole": "You multiplied the whole logit by the power. The power acts on the frequencies of "
        "the noise alone.",
        "the inverse power": "You took the power 1/s of the frequencies, which sharpens them. The power s, which "
        "flattens them, is asked for.",
        "the share of real ones": "This is the probability that the pair is real. The logit that belongs to it is "
        "asked for.",
    },
    "loss": {
        "no shift": "Your logits at position t are compared with the token at position t, which the model has already "
        "seen; they are about the token at position t + 1.",
        "shifted the wrong way": "You shifted the wrong way: your logits at position t are compared with the token "
        "before it, not with the one after it.",
        "sum": "This is the sum over the predicted tokens; their mean is asked for.",
        "bits": "This loss is in bits; it is asked for in nats, so with natural logarithms.",
        "sign": "This is the mean of log p. The loss is minus this mean, so that a better model has a smaller one.",
        "divided by all positions": "You divided by the number of all tokens. The first token of each text is "
        "predicted by nobody, so it does not count.",
        "logarithm of a softmax": "You take the logarithm of a softmax that has been computed: for large logits a "
        "probability becomes 0, and the loss infinite.",
        "a little added": "The number that you add to the probability caps the loss: a token with a probability of "
        "e^-100 must cost 100 nats.",
        "exponentials without care": "Your exponentials overflow for large logits, so the loss is no longer a finite "
        "number.",
        "softmax over the positions": "Your softmax runs over the positions; the probabilities of the next token are "
        "a softmax over the vocabulary, the last axis.",
        "the probability": "You averaged the probabilities themselves; the loss is the mean of minus their logarithms.",
        "the last token only": "Your loss counts only the last token of each text; all predicted tokens count.",
    },
    "cache": {
        "the new position left out": "Your new positions look at the stored ones alone; each also looks at itself.",
        "no mask": "Your new positions see each other in both directions. When several come at once, none may look at "
        "a later one.",
        "the mask of the first positions": "Your mask treats the queries as the first positions of the text; they "
        "belong to the last ones.",
        "the old cache returned": "You return the cache as it came; the keys and values of the new positions have to "
        "be added.",
        "new ones in front": "You put the new keys and values in front of the stored ones; the cache is in the order "
        "of the text.",
        "keys and values exchanged": "Your cache has keys and values in each other's place; the pair is (keys, "
        "values).",
        "only the new ones stored": "You store the keys and values of the new positions only; those of the past "
        "belong in the cache as well.",
        "only the new ones seen": "Your new positions look at each other alone; each also looks at everything before "
        "it.",
        "queries for keys": "Your new keys are made with the queries' matrix; keys have a matrix of their own.",
        "keys for queries": "Your queries are made with the keys' matrix; queries have a matrix of their own.",
        "the vectors themselves stored": "You store the incoming vectors themselves; their keys and values are to be "
        "stored, with those of the past.",
    },
    "turn": {
        "halves for neighbours": "You paired the first half of a vector with the second; here pair i are the "
        "neighbours 2i and 2i + 1.",
        "neighbours taken, halves put back": "You turned the right pairs, but put their first numbers into the first "
        "half of the result and their second ones into the second half; each belongs where it was taken.",
        "the other way round": "You turned clockwise; the pairs are turned anticlockwise.",
        "one speed for all pairs": "All your pairs turn equally fast; pair i has an angle of its own.",
        "half the exponent": "Your exponent is -i/dim; it should be -2i/dim, with the dimension of the whole vector.",
        "the exponent's sign": "Your pairs turn faster and faster as i grows. The exponent is negative, so they turn "
        "more and more slowly.",
        "places for positions": "You turn each vector by its place in x, and do not use the given positions.",
        "positions from 1": "You count positions from 1; they are given, and at position 0 nothing is turned.",
        "degrees": "You took the angles for degrees and converted them; they are in radians already.",
        "a sine and a cosine too few": "Only the first number of each pair is multiplied by your cosine and sine; "
        "both numbers have to be.",
        "one sign wrong": "One sign in your second number is wrong, so what you do is no rotation: it changes lengths.",
        "the first number used when it has changed": "Your second number is computed from the first one after that "
        "has been turned; both need the old pair.",
        "added, not turned": "You add the cosine and the sine to the numbers; a rotation multiplies.",
        "the positions ignored": "The positions have no influence on your angles: at position m a pair is turned by m "
        "times its angle.",
        "in place": "The vectors that are given were changed; they stay as they are.",
    },
    "adapted": {
        "alpha, not divided by r": "You scaled by alpha; the scale is alpha divided by the rank.",
        "divided by the inputs": "You divided alpha by the number of inputs; it is divided by the rank.",
        "divided by the outputs": "You divided alpha by the number of outputs; it is divided by the rank.",
        "the scale forgotten": "The scale is missing: each correction is multiplied by alpha divided by its rank.",
        "the first adapter only": "Only your first adapter has an effect; the corrections of all are added.",
        "the first one's scale for all": "You used the first adapter's scale for all; each has its own alpha and rank.",
        "the matrix learns": "The output is right, but a gradient reaches the matrix; it is frozen, whatever its "
        "requires_grad says.",
        "A learns nothing": "The output is right, but no gradient reaches A.",
        "B learns nothing": "The output is right, but no gradient reaches B.",
        "x gets no gradient from the adapters": "The output is right, but the gradient of x comes through the matrix "
        "alone; the adapters have a part in it as well.",
        "nothing learns": "The output is right, but it has no gradient at all; gradients must reach x and every A and "
        "B.",
        "one after the other": "Each of your adapters works on what those before it have changed; all of them get the "
        "same x.",
        "the matrix not transposed": "You multiplied x by the matrix itself. Its shape is (outputs, inputs), so a "
        "linear layer multiplies by its transpose.",
    },
    "merged": {
        "in place": _SHARED_MEMORY,
        "the given memory shared": _SHARED_MEMORY,
        "alpha, not divided by r": "You scaled by alpha; the scale is alpha divided by the rank.",
        "with a gradient": "The matrix is right, but it still requires gradients; the result has none.",
        "the correction alone": "This is the correction alone; the frozen matrix has to be added to it.",
        "subtracted": "You subtracted the corrections; they are added.",
        "divided by the inputs": "You divided alpha by the number of inputs; it is divided by the rank.",
        "the size of alpha only": "You used the absolute value of alpha; a negative one takes an adapter off again.",
        "number by number": "You multiplied averages of A and B number by number; the correction is their matrix "
        "product.",
    },
    "rank": {
        "rounded": "You rounded to the nearest whole number; the largest rank that stays within the share is asked "
        "for.",
        "upwards": "You rounded upwards, so the adapters have more parameters than the share allows.",
        "not whole": "This rank is not an int; a whole number is asked for.",
        "at least 1": "You return at least 1; if even a rank of 1 has too many parameters, the answer is 0.",
        "A only": "You counted the parameters of A only; B is trained as well.",
        "as many as the matrix has": "You counted as many parameters per rank as the matrices have; a rank of 1 has "
        "one row in A and one column in B.",
        "each matrix for itself": "You kept every matrix within the share; the parameters of all of them are counted "
        "together.",
        "of all parameters, the new ones too": "You took the share of all parameters, including those of the "
        "adapters; it is a share of the matrices' own.",
        "the first matrix alone": "You counted the first matrix alone; all matrices count together.",
    },
    "operations": {
        "forwards only": "You counted the forward pass only, 2 operations for each parameter and token; the backward "
        "pass takes another 4.",
        "backwards as costly as forwards": "You counted 4 operations for each parameter and token, as if the backward "
        "pass cost as much as the forward pass; it costs twice as much.",
        "as many sets as heads": "You counted keys and values of every head; there are only as many as there are sets.",
        "keys alone": "You counted one matrix for each set; its keys have one and its values another.",
        "sets instead of heads per set": "The size of your key and value matrices is wrong: you used heads / sets; "
        "there are `sets` of each, and each has width / heads rows.",
        "one matrix of the network": "You counted one matrix of the network for each position; there is one to "
        "`hidden` numbers and one back.",
        "a network four times as wide": "You took the network to be four times as wide as the model; its width is "
        "given, `hidden`.",
        "the last layer forgotten": "The last layer is missing, which makes `vocab` logits from width numbers.",
        "the embedding counted too": "You counted the embedding too; it multiplies nothing.",
        "the last layer in every block": "You counted the last layer in every block; the model has it once.",
        "tokens forgotten": "These are the operations for one token; they are asked for all tokens.",
    },
    "size": {
        "the 6 forgotten": "Your N times your D is the whole budget; it is 6 N D that must equal the budget.",
        "the 6 forgotten in the text": "Your text is 6 times too long: it is 6 N D that must equal the budget.",
        "the 6 forgotten in the size": "Your size is not the best one: it is computed as if N D were the budget, but "
        "6 N D is.",
        "both terms equal": "You made the two terms of the loss equal. At the minimum their derivatives with respect "
        "to log N cancel, and these have the exponents as factors.",
        "the exponents exchanged": "In your ratio of the constants the exponents are in each other's place.",
        "the constants exchanged": "Your ratio of the constants is upside down: a larger A calls for a larger model.",
        "the growth of the text": "Your size grows with the budget by the power with which the text should grow; the "
        "two powers are different.",
        "the growth alone": "Your size grows with the budget as it should, but the factor that the constants of the "
        "law give is missing.",
        "the square root": "You split the budget evenly between size and text; the law's constants and exponents "
        "decide how it is split.",
        "a root too few": "The constants' ratio has to be raised to the power 1 / (alpha + beta), as the rest is.",
        "text before size": "You return (D, N); the order is (N, D).",
        "all for the size": "You spend the whole budget on size, for a single token of text; a longer text with a "
        "smaller model has a smaller loss.",
        "right for half the budget": "This is the best size for half the budget; all of it is to be spent.",
        "tokens per parameter by rule of thumb": "You used a rule of thumb, 20 tokens for each parameter; the law "
        "that is given has a best size of its own.",
    },
    "cut": {
        "an absolute limit": "You compared the probabilities with the fraction itself; the limit is the fraction "
        "times the largest one of the row.",
        "not divided by the sum": "You kept the right tokens, but your rows do not sum to 1.",
        "the temperature after the cut": "Your temperature acts after the cut; it acts first, so the probabilities "
        "that are compared are those at this temperature.",
        "multiplied by the temperature": "You multiplied the logits by the temperature; they are divided by it.",
        "the temperature ignored": "The temperature has no influence on your probabilities.",
        "the largest of the whole batch": "You compared with the largest probability of the whole batch; each row has "
        "its own.",
        "the first p of the probability": "This is close to top-p, which looks at the sum of the probabilities; min-p "
        "compares each one with the largest.",
        "below the limit": "You kept the tokens below the limit; those at or above it are to be kept.",
        "a fraction of the logit": "You compared logits; probabilities are to be compared.",
        "the softmax once more": "You put the kept probabilities through another softmax, which gives the tokens that "
        "were cut off a probability again; divide by the sum instead.",
        "exponentials without care": "Your exponentials overflow for large logits, so some probabilities are not "
        "numbers.",
        "the most probable one alone": "You kept the most probable token alone; all tokens at or above the limit are "
        "to be kept.",
    },
    "draft": {
        "p on refusal": "After a refusal you draw from p again, so the tokens that the draft guesses often come out "
        "too often. Only what p has and the kept guesses do not give is left.",
        "upside down": "Your ratio is upside down: a token that the draft guesses too often has to be refused at "
        "times.",
        "not a number where q is 0": "Where p and q are both 0, your division gives something that is not a number.",
        "above 1": "`keep` exceeds 1 where the draft guesses a token too rarely; a probability is at most 1.",
        "always kept": "You keep every guess, so what comes out has the draft's distribution.",
        "kept with the model's probability": "You keep a guess with the probability that the model gives it; the "
        "draft's probability matters too, since it says how often the token is guessed.",
        "kept if the model likes it better": "You refuse every token that the draft guesses too often; such a guess "
        "can still be kept part of the time.",
        "not divided by its sum": "`left` does not sum to 1; each row has to be divided by its sum.",
        "not a number where p equals q": "In a row where p equals q nothing is left, and you divide 0 by 0. There, "
        "any distribution will do.",
        "the draft's surplus": "`left` is what the draft has too much of; what it has too little of is needed.",
        "the difference's size": "You took the size of the difference, so tokens that the draft guesses too often get "
        "even more; only those that it guesses too rarely need a share.",
        "negative numbers left": "`left` has negative numbers, so it is not a distribution.",
        "divided by the sum of the whole batch": "You divided by the sum of the whole batch; each row is a "
        "distribution of its own.",
        "nothing is ever kept": "You refuse every guess and draw from p, so the draft saves nothing; guesses are to "
        "be kept as often as possible.",
        "half as often as possible, and exact all the same": "Your rule gives exactly p, but keeps guesses only half "
        "as often as it could; they are to be kept as often as possible.",
        "exchanged": "You return (left, keep); the order is (keep, left).",
    },
    "mistakes": {
        "four of five": "Four of your letters are right; one names a false statement. Check each with a run of a few "
        "lines.",
        "three of five": "Three of your letters are right; two name false statements.",
        "the other five": "None of these five statements is true.",
        "all ten": "You named all ten letters; exactly five are asked for.",
        "with commas": "Your string has commas and spaces between the letters; it must hold the five letters alone.",
        "a letter twice": "One letter occurs twice; five different ones are asked for.",
        "nothing": "Your function returns nothing; the letters are to be returned in one string.",
        "a list of the right five": "The letters are right; they are to be in one string, not in a list.",
    },
    "bug": {
        "all five mistakes left": "Your step still makes the mistakes of the faulty one: it predicts the token that "
        "stands there, from that token alone, with a squared error, and its step is wrong as well.",
        "the squared error": "Your loss is still the squared error of the probabilities; the mean of -log p in nats "
        "is asked for.",
        "no shift": "Your step still predicts the token that stands at each position, not the next one.",
        "from the last token alone": "Your step still predicts from the last token alone; the mixture of all tokens "
        "so far is asked for.",
        "the whole text for every token": "Your step predicts from the mean of the whole text, which contains what is "
        "to be predicted; each position knows the tokens up to it, weighted by `recent`.",
        "embeddings that never learn": "Your embedding never changes; both tables learn.",
        "gradients that pile up": "Gradients left over from earlier steps are added to the new ones in your step.",
        "uphill": "Your step goes uphill: it adds the gradient, which makes the loss larger.",
        "the learning rate forgotten": "Your step is the whole gradient; it has to be multiplied by the learning rate.",
        "sum": "Your loss is the sum over the predicted tokens; their mean is asked for.",
        "shifted the wrong way": "You shifted the wrong way: your step predicts the token before each position, not "
        "the one after it.",
    },
}
