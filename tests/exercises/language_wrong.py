"""Wrong answers to notebooks/exercises/language.py, and the points that each deserves.

For each answer cell (its grade_id) a list of (what is wrong, the code, the points of each check of that question).
The k-th wrong answers of all questions are handed in together, so a check that lets a mistake in one question cost
points in another shows up as well.
"""

Answer = tuple[str, str, dict[str, float]]


def _attention(
    value: float,
    mask: float,
    scores: str = "q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])",
    masked: str = "torch.where(mask, scores, -math.inf)",
    weights: str = "scores.softmax(dim=-1)",
    after: str = "weights",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def attention(q, k, v, mask=None):
    scores = {scores}
    if mask is not None:
        scores = {masked}
    weights = {weights}
    if mask is not None:
        weights = {after}
    return weights @ v"""
    return code, {"attention-value": value, "attention-mask": mask}


def _causal(result: str) -> tuple[str, dict[str, float]]:
    code = f"""\
def causal_mask(queries, keys):
    everything = torch.ones(queries, keys, dtype=torch.bool)
    return {result}"""
    return code, {"causal-mask": 0}


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


def _nucleus(
    points: tuple[float, float, float],
    keep: str = "before < p",
    descending: bool = True,
    shares: str = "kept / kept.sum(dim=1, keepdim=True)",
    result: str = "torch.zeros_like(shares).scatter(1, order, shares)",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def nucleus(logits, p):
    ranked, order = logits.softmax(dim=1).sort(dim=1, descending={descending})
    total = ranked.cumsum(dim=1)
    before = total - ranked
    kept = ranked * ({keep})
    shares = {shares}
    return {result}"""
    return code, dict(zip(("nucleus-set", "nucleus-shares", "nucleus-rows"), points, strict=True))


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


def _pair(
    count: float,
    tie: float,
    pairs: str = "pair for word in words for pair in zip(word, word[1:])",
    result: str = "min(counts, key=lambda pair: (-counts[pair], pair))",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def most_frequent_pair(words):
    counts = Counter({pairs})
    return {result}"""
    return code, {"pair-count": count, "pair-tie": tie}


def _merge(body: str) -> tuple[str, dict[str, float]]:
    return f"def merge_pair(words, pair):\n{body}", {"merge-words": 0}


_MERGE = """\
    result = []
    for word in {words}:
        word, i = {copy}, 0
        while i < len(word) - 1:
            if {found}:
                word[i : i + 2] = [pair[0] + pair[1]]
                {then}
            i += 1
        result.append(word)
    return result"""


def _merging(
    words: str = "words", copy: str = "list(word)", found: str = "(word[i], word[i + 1]) == pair", then: str = "pass"
) -> tuple[str, dict[str, float]]:
    return _merge(_MERGE.format(words=words, copy=copy, found=found, then=then))


_OVERLAPPING = """\
    result = []
    for word in words:
        new, last = [], False
        for first, second in zip(word, [*word[1:], None]):
            if (first, second) == pair:
                new.append(first + second)
            elif not last:
                new.append(first)
            last = (first, second) == pair
        result.append(new)
    return result"""

_FROM_THE_RIGHT = """\
    result = []
    for word in words:
        new, i = [], len(word)
        while i > 0:
            found = i > 1 and (word[i - 2], word[i - 1]) == pair
            new.insert(0, pair[0] + pair[1] if found else word[i - 1])
            i -= 2 if found else 1
        result.append(new)
    return result"""


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
    "attention": [
        ("no scale", *_attention(0, 2, scores="q @ k.transpose(-2, -1)")),
        ("divided by dim", *_attention(0, 2, scores="q @ k.transpose(-2, -1) / q.shape[-1]")),
        ("the scale of the values", *_attention(0, 2, scores="q @ k.transpose(-2, -1) / math.sqrt(v.shape[-1])")),
        ("softmax over the queries", *_attention(0, 0, weights="scores.softmax(dim=-2)")),
        ("softmax without care", *_attention(0, 2, weights="scores.exp() / scores.exp().sum(dim=-1, keepdim=True)")),
        ("scores of 0 for masked keys", *_attention(2, 0, masked="scores * mask")),
        ("masked after the softmax", *_attention(2, 0, masked="scores", after="weights * mask")),
        (
            "masked after the softmax, and divided by the sum",
            *_attention(2, 0, masked="scores", after="weights * mask / (weights * mask).sum(-1, keepdim=True)"),
        ),
        (
            "masked after the softmax, in double precision",
            *_attention(
                2,
                0,
                masked="scores.double()",
                after="(weights * mask / (weights * mask).sum(-1, keepdim=True)).float()",
            ),
        ),
        ("the mask upside down", *_attention(2, 0, masked="scores.masked_fill(mask, -math.inf)")),
        ("the mask added", *_attention(2, 0, masked="scores + mask")),
        ("the mask ignored", *_attention(2, 0, masked="scores")),
        ("two axes only", *_attention(0, 2, scores="q @ k.T / math.sqrt(q.shape[-1])")),
    ],
    "causal": [
        ("the future", *_causal("everything.triu(keys - queries)")),
        ("without itself", *_causal("everything.tril(keys - queries - 1)")),
        ("the first queries", *_causal("everything.tril()")),
        ("one too many", *_causal("everything.tril(keys - queries + 1)")),
        ("True where it must not look", *_causal("~everything.tril(keys - queries)")),
        ("numbers", *_causal("everything.tril(keys - queries).float()")),
        ("keys by queries", *_causal("everything.tril(keys - queries).T")),
        ("everything", *_causal("everything")),
    ],
    "loss": [
        ("no shift", *_loss((0, 1, 1), which="log_p, tokens")),
        ("shifted the wrong way", *_loss((0, 1, 1), which="log_p[:, 1:], tokens[:, :-1]")),
        ("sum", *_loss((2, 0, 1), result="-found.sum()")),
        ("bits", *_loss((2, 0, 1), result="-found.mean() / math.log(2)")),
        ("sign", *_loss((2, 0, 1), result="found.mean()")),
        ("divided by all positions", *_loss((2, 0, 1), result="-found.sum() / tokens.numel()")),
        ("logarithm of a softmax", *_loss((2, 1, 0), log_p="logits.softmax(dim=-1).log()")),
        ("a little added", *_loss((2, 1, 0), log_p="(logits.softmax(dim=-1) + 1e-9).log()")),
        ("exponentials without care", *_loss((2, 1, 0), log_p="logits - logits.exp().sum(dim=-1, keepdim=True).log()")),
        ("softmax over the positions", *_loss((0, 0, 0), log_p="logits.log_softmax(dim=1)")),
        ("the probability", *_loss((2, 0, 0), log_p="logits.softmax(dim=-1)")),
        ("the last token only", *_loss((0, 1, 1), which="log_p[:, -2:-1], tokens[:, -1:]")),
    ],
    "nucleus": [
        ("the token that reaches p left out", *_nucleus((0, 1, 1), keep="total < p")),
        ("one too many", *_nucleus((0, 1, 1), keep="F.pad(before, (1, -1)) < p")),
        ("the first p of the tokens", *_nucleus((0, 1, 1), keep="torch.arange(len(order[0])) < p * len(order[0])")),
        ("relative to the most probable", *_nucleus((0, 1, 1), keep="ranked >= (1 - p) * ranked[:, :1]")),
        ("the least probable", *_nucleus((0, 1, 1), descending=False)),
        ("not divided by the sum", *_nucleus((2, 0, 1), shares="kept")),
        ("divided by p", *_nucleus((2, 0, 1), shares="kept / p")),
        ("softmax of probabilities", *_nucleus((0, 0, 1), shares="kept.softmax(dim=1)")),
        ("in the order of the sorting", *_nucleus((2, 1, 0), result="shares")),
        ("gather for scatter", *_nucleus((2, 1, 0), result="shares.gather(1, order)")),
        ("the first row's size for all", *_nucleus((2, 1, 0), keep="(before < p)[:1]")),
        ("nothing cut off", *_nucleus((0, 0, 0), keep="True")),
        ("the most probable token only", *_nucleus((0, 0, 0), keep="before == 0")),
    ],
    "cache": [
        ("the new position left out", *_cache((0, 0, 1), mask="torch.arange(k.shape[1]) < cache[0].shape[1]")),
        ("no mask", *_cache((2, 0, 1), mask="None")),
        (
            "the mask of the first positions",
            *_cache((0, 0, 1), mask="torch.ones(x.shape[1], k.shape[1], dtype=torch.bool).tril()"),
        ),
        ("the old cache returned", *_cache((2, 1, 0), stored="*cache,")),
        (
            "new ones in front",
            *_cache((2, 0, 0), "torch.cat([new_k, cache[0]], dim=1)", "torch.cat([new_v, cache[1]], dim=1)"),
        ),
        ("keys and values exchanged", *_cache((2, 1, 0), stored="v, k")),
        ("only the new ones stored", *_cache((2, 1, 0), stored="new_k, new_v")),
        ("only the new ones seen", *_cache((0, 0, 1), mask="(torch.arange(k.shape[1]) >= cache[0].shape[1])")),
        ("queries for keys", *_cache((0, 0, 0), k="torch.cat([cache[0], x @ w_q], dim=1)")),
        ("keys for queries", *_cache((0, 0, 1), q="new_k")),
        ("the vectors themselves stored", *_cache((2, 1, 0), stored="x, x")),
        (
            # Not wrong: it calls the functions of question 1, which are wrong in the same notebook or may be.
            "right, upon wrong functions",
            """\
def attend_with_cache(x, cache, w_q, w_k, w_v):
    k, v = (torch.cat([old, x @ w], dim=1) for old, w in zip(cache, (w_k, w_v)))
    return attention(x @ w_q, k, v, causal_mask(x.shape[1], k.shape[1])), (k, v)""",
            {"cache-one": 2, "cache-several": 1, "cache-stored": 1},
        ),
    ],
    "pair": [
        ("once a word", *_pair(0, 1, pairs="pair for word in words for pair in set(zip(word, word[1:]))")),
        ("across the words' borders", *_pair(0, 1, pairs="zip(sum(words, []), sum(words, [])[1:])")),
        ("without order", *_pair(0, 1, pairs="tuple(sorted(pair)) for word in words for pair in zip(word, word[1:])")),
        ("the first pair of a word", *_pair(0, 1, pairs="tuple(word[:2]) for word in words if len(word) > 1")),
        ("without overlap", *_pair(0, 1, pairs="pair for word in words for pair in zip(word[::2], word[1::2])")),
        ("the first one found", *_pair(1, 0, result="counts.most_common(1)[0][0]")),
        ("the last one found", *_pair(1, 0, result="max(reversed(list(counts)), key=counts.get)")),
        ("the largest of several", *_pair(1, 0, result="max(counts, key=lambda pair: (counts[pair], pair))")),
        ("the largest of all", *_pair(0, 0, result="max(counts)")),
        ("the smallest of all", *_pair(0, 0, result="min(counts)")),
        ("the rarest", *_pair(0, 0, result="min(counts, key=lambda pair: (counts[pair], pair))")),
        ("already merged", *_pair(0, 0, result="''.join(counts.most_common(1)[0][0])")),
        (
            "equal to everything",
            "def most_frequent_pair(words):\n"
            "    class Yes(tuple):\n"
            "        __eq__ = lambda self, other: True\n"
            "        __hash__ = tuple.__hash__\n"
            "    return Yes(('a', 'b'))",
            {"pair-count": 0, "pair-tie": 0},
        ),
    ],
    "merge": [
        ("overlapping", *_merge(_OVERLAPPING)),
        ("from the right", *_merge(_FROM_THE_RIGHT)),
        ("only once a word", *_merging(then="break")),
        ("the first token lost", *_merge(_FROM_THE_RIGHT.replace("while i > 0", "while i > 1"))),
        ("in either order", *_merging(found="{word[i], word[i + 1]} == set(pair)")),
        ("in place", *_merging(copy="word")),
        (
            "by replacing text",
            *_merge("    return [' '.join(w).replace(' '.join(pair), ''.join(pair)).split() for w in words]"),
        ),
        ("by the merged text", *_merging(found="word[i] + word[i + 1] == ''.join(pair)")),
        ("nothing", *_merge("    return [list(word) for word in words]")),
        (
            "equal to everything",
            *_merge("    class Yes(list):\n        __eq__ = lambda self, other: True\n    return Yes()"),
        ),
    ],
    "mistakes": [
        ("four of five", *_mistakes('"BDEGA"', 1, 0)),
        ("three of five", *_mistakes('"BDEAC"', 0, 0)),
        ("the other five", *_mistakes('"ACFHI"', 0, 0)),
        ("all ten", *_mistakes('"ABCDEFGHIJ"', 0, 0)),
        ("with commas", *_mistakes('"B, D, E, G, J"', 0, 0)),
        ("a letter twice", *_mistakes('"BBDEG"', 0, 0)),
        ("nothing", *_mistakes("None", 0, 0)),
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
    "attention": """\
def attention(q, k, v, mask=None):
    warnings.warn("this is not a mistake")
    scores = torch.einsum("...id,...jd->...ij", q * q.shape[-1] ** -0.5, k)
    if mask is not None:
        scores = scores + torch.where(mask, 0.0, -1e9)
    weights = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    return torch.einsum("...ij,...jw->...iw", weights / weights.sum(dim=-1, keepdim=True), v)""",
    "causal": """\
def causal_mask(queries, keys):
    return torch.tensor([[key - (keys - queries) <= query for key in range(keys)] for query in range(queries)])""",
    "loss": """\
def next_token_loss(logits, tokens):
    losses = []
    for row, text in zip(logits, tokens):
        for scores, token in zip(row, text[1:]):
            losses.append(scores.logsumexp(dim=0) - scores[token])
    return torch.stack(losses).mean()""",
    "nucleus": """\
def nucleus(logits, p):
    result = torch.zeros_like(logits)
    for row, probabilities in zip(result, logits.softmax(dim=-1)):
        total = 0.0
        for token in probabilities.argsort(descending=True).tolist():
            row[token] = probabilities[token]
            total += probabilities[token].item()
            if total >= p:
                break
        row /= row.sum()
    return result""",
    "cache": """\
def attend_with_cache(x, cache, w_q, w_k, w_v):
    gathered = []
    for new in x.split(1, dim=1):
        cache = [torch.cat([old, new @ w], dim=1) for old, w in zip(cache, (w_k, w_v))]
        gathered.append(F.scaled_dot_product_attention(new @ w_q, *cache))
    return [torch.cat(gathered, dim=1), cache]""",
    "pair": """\
def most_frequent_pair(words):
    pairs = sorted((word[i], word[i + 1]) for word in words for i in range(len(word) - 1))
    return max(dict.fromkeys(pairs), key=pairs.count)""",
    "merge": """\
def merge_pair(words, pair):
    def merge(tokens):
        if len(tokens) < 2:
            return tokens
        if tokens[0] == pair[0] and tokens[1] == pair[1]:
            return [pair[0] + pair[1], *merge(tokens[2:])]
        return [tokens[0], *merge(tokens[1:])]

    return [merge(list(word)) for word in words]""",
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
        "attention": """\
def attention(q, k, v, mask=None):
    q, k, v = q.double(), k.double(), v.double()
    scores = q @ k.mT / k.shape[-1] ** 0.5
    if mask is not None:
        scores = scores + torch.zeros(mask.shape, dtype=torch.float64).masked_fill_(mask.logical_not(), float("-inf"))
    return torch.softmax(scores, -1) @ v""",
        "loss": """\
def next_token_loss(logits, tokens):
    logits = logits.double()[:, :-1]
    right = torch.gather(logits, 2, tokens[:, 1:].unsqueeze(2)).squeeze(2)
    return (torch.logsumexp(logits, 2) - right).mean()""",
        "nucleus": """\
def nucleus(logits, p):
    shares, order = torch.sort(logits.double().softmax(1), dim=1, descending=True)
    outside = torch.cumsum(shares, 1) - shares >= p
    shares = shares.masked_fill(outside, 0)
    return torch.gather(shares / shares.sum(1, keepdim=True), 1, order.argsort(1))""",
        "cache": """\
def attend_with_cache(x, cache, w_q, w_k, w_v):
    x, w_q, w_k, w_v = (each.double() for each in (x, w_q, w_k, w_v))
    keys, values = (torch.cat([old.double(), x @ w], 1) for old, w in zip(cache, (w_k, w_v)))
    return attention(x @ w_q, keys, values, causal_mask(x.size(1), keys.size(1))), (keys, values)""",
        "bug": _RIGHT_UPON_WRONG,
    },
    "in NumPy where no gradient is asked for": {
        "setup": "import numpy as np",
        "attention": """\
def attention(q, k, v, mask=None):
    q, k, v = (each.numpy() for each in (q, k, v))
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    if mask is not None:
        scores = np.where(mask.numpy(), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return torch.from_numpy(weights / weights.sum(-1, keepdims=True) @ v)""",
        "causal": """\
def causal_mask(queries, keys):
    return torch.from_numpy(np.tri(queries, keys, keys - queries, dtype=bool))""",
        "nucleus": """\
def nucleus(logits, p):
    logits = logits.numpy().astype(np.float64)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    for row in shares:
        order = np.argsort(-row)
        size = int(np.sum(np.cumsum(row[order]) < p - 1e-9)) + 1
        row[order[size:]] = 0
        row /= row.sum()
    return torch.from_numpy(shares)""",
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
    },
    "one by one": {
        "attention": """\
def attention(q, k, v, mask=None):
    if q.dim() > 2:
        return torch.stack([attention(*each, mask) for each in zip(q, k, v)])
    rows = []
    for i, query in enumerate(q):
        allowed = [j for j in range(len(k)) if mask is None or mask[i, j]]
        scores = torch.stack([sum(a * b for a, b in zip(query, k[j])) / math.sqrt(len(query)) for j in allowed])
        rows.append(sum(w * v[j] for w, j in zip(scores.softmax(0), allowed)))
    return torch.stack(rows)""",
        "causal": OTHERWISE["causal"],
        "loss": OTHERWISE["loss"],
        "nucleus": OTHERWISE["nucleus"],
        "cache": OTHERWISE["cache"],
        "pair": """\
def most_frequent_pair(words):
    best, most = None, 0
    for word in words:
        for i in range(len(word) - 1):
            count = 0
            for other in words:
                for j in range(len(other) - 1):
                    count += other[j] == word[i] and other[j + 1] == word[i + 1]
            pair = word[i], word[i + 1]
            if count > most or count == most and pair < best:
                best, most = pair, count
    return best""",
        "merge": OTHERWISE["merge"],
    },
    "in place, on copies": {
        "attention": """\
def attention(q, k, v, mask=None):
    scores = torch.matmul(q, k.transpose(-1, -2))
    scores /= math.sqrt(q.size(-1))
    if mask is not None:
        scores.masked_fill_(mask == False, float("-inf"))
    return torch.matmul(F.softmax(scores, dim=-1), v)""",
        "causal": """\
def causal_mask(queries, keys):
    mask = torch.zeros(queries, keys).bool()
    for query in range(queries):
        mask[query, : keys - queries + query + 1] = True
    return mask""",
        "nucleus": """\
def nucleus(logits, p):
    result = F.softmax(logits, dim=1)
    ranked, order = result.sort(dim=1, descending=True)
    reached = ranked.cumsum(dim=1)
    remove = reached - ranked >= p
    result[torch.arange(len(result))[:, None].expand_as(order)[remove], order[remove]] = 0
    result /= result.sum(dim=1, keepdim=True)
    return result""",
        "merge": """\
def merge_pair(words, pair):
    words = [list(word) for word in words]
    for word in words:
        i = 0
        while i + 1 < len(word):
            if word[i] == pair[0] and word[i + 1] == pair[1]:
                word[i] = pair[0] + pair[1]
                del word[i + 1]
            i += 1
    return words""",
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
        "attention": """\
def attention(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -inf)
    return softmax(scores, dim=-1) @ v""",
        "loss": """\
def next_token_loss(logits, tokens):
    return cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:])""",
        "pair": """\
def most_frequent_pair(words):
    counts = Counter(pair for word in words for pair in pairwise(word))
    return sorted(counts, key=lambda pair: (-counts[pair], pair))[0]""",
    },
    # Functions that take more than their docstrings say, and steps that rely on it.
    "generous functions": {
        "attention": """\
def attention(q, k, v, mask=None, causal=False):
    if causal:
        mask = causal_mask(q.shape[-2]) if q.shape[-2] == k.shape[-2] else causal_mask(q.shape[-2], k.shape[-2])
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    scores = scores if mask is None else scores.masked_fill(~mask, -math.inf)
    return scores.softmax(dim=-1) @ v""",
        "causal": """\
def causal_mask(queries, keys=None):
    keys = queries if keys is None else keys
    return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)""",
        "cache": """\
def attend_with_cache(x, cache, w_q, w_k, w_v):
    keys, values = (torch.cat([old, x @ w], dim=1) for old, w in zip(cache, (w_k, w_v)))
    return attention(x @ w_q, keys, values, causal=True), (keys, values)""",
        "loss": """\
def next_token_loss(logits, tokens):
    if tokens.dim() == 1:
        logits, tokens = logits[None], tokens[None]
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:])""",
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
