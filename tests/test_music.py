"""The recurrent VAE: its bound against the definition, padding that changes nothing, cures, training, bad input."""

import math
from typing import Any

import pytest
import torch

from aigc_course import music, training
from aigc_course.data import tunes
from aigc_course.data.tunes import END, IGNORED, TOKEN, Note

PHRASES = [
    ["metre 3/4", "67 8", "|", "72 8", "76 8", "79 8", "|", "83 16", END],
    ["metre 2/4", "60 8", "62 8", "|", "64 16", "|", END],
    ["metre 4/4", "rest 16", "60 16", "|", END],
]
SEQUENCES = [[TOKEN[name] for name in names] for names in PHRASES]


def model(**options: Any) -> music.MelodyVAE:
    torch.manual_seed(0)
    return music.MelodyVAE(**{"latent_dim": 4, "width": 16, "embedding": 8, **options}).eval()


def test_bound_is_its_definition() -> None:
    vae, (x, y) = model(), tunes.rows(SEQUENCES)
    mu, log_var = vae.encode(y)
    torch.manual_seed(1)
    found = vae.elbo(x, y)
    torch.manual_seed(1)
    z = mu + (0.5 * log_var).exp() * torch.randn_like(mu)
    for row, tokens in enumerate(SEQUENCES):
        logits = vae.decode(z[row : row + 1], torch.tensor([tokens[:-1]]))[0]
        expected = logits.log_softmax(dim=1)[range(len(tokens) - 1), tokens[1:]].sum()
        torch.testing.assert_close(found.log_likelihood[row], expected)
    q = torch.distributions.Normal(mu, (0.5 * log_var).exp())
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(found.kl, kl)


def test_what_fills_a_row_up_changes_nothing() -> None:
    vae = model()
    short, long = (vae.encode(tunes.rows(SEQUENCES[:1], length)[1]) for length in (None, 20))
    torch.testing.assert_close(short, long)
    _, y = tunes.rows(SEQUENCES)
    torch.testing.assert_close([part[0] for part in vae.encode(y)], [part[0] for part in short])


def test_decoder_sees_only_what_came_before() -> None:
    vae, z = model(), torch.randn(1, 4)
    x = torch.tensor([SEQUENCES[0][:-1]])
    changed = x.clone()
    changed[0, 4] = TOKEN["60 4"]
    before, after = vae.decode(z, x), vae.decode(z, changed)
    torch.testing.assert_close(before[0, :4], after[0, :4])
    assert not torch.allclose(before[0, 4], after[0, 4])
    # What is hidden has no influence at all.
    hidden = torch.zeros_like(x, dtype=torch.bool)
    hidden[0, 4] = True
    torch.testing.assert_close(vae.decode(z, x, hidden), vae.decode(z, changed, hidden))


def test_sample_is_the_most_probable_token_after_each() -> None:
    vae, z = model(), torch.randn(3, 4)
    for row, tokens in enumerate(vae.sample(z, "3/4", longest=10)):
        assert tokens[0] == TOKEN["metre 3/4"]
        assert len(tokens) <= 10
        logits = vae.decode(z[row : row + 1], torch.tensor([tokens[:-1]]))[0]
        assert logits.argmax(dim=1).tolist() == tokens[1:]


def test_samples_at_a_temperature_follow_the_probabilities() -> None:
    vae = model()
    with torch.no_grad():
        vae.head.weight.zero_()
        vae.head.bias.fill_(-100.0)
        vae.head.bias[[TOKEN["60 8"], TOKEN[END]]] = torch.tensor([math.log(3.0), 0.0])
    drawn = vae.sample(torch.zeros(3000, 4), "2/4", temperature=1.0, longest=8)
    ended = sum(len(tokens) == 2 for tokens in drawn) / len(drawn)
    assert ended == pytest.approx(1 / 4, abs=0.03)
    drawn = vae.sample(torch.zeros(3000, 4), "2/4", temperature=0.5, longest=64)
    assert sum(len(tokens) == 2 for tokens in drawn) / len(drawn) == pytest.approx(1 / 10, abs=0.03)
    assert {tokens[-1] for tokens in drawn if len(tokens) < 64} == {TOKEN[END]}


def test_free_nats_cost_nothing() -> None:
    batch = tunes.rows(SEQUENCES)
    losses = {}
    for free in (0.0, 1000.0):
        vae = model(free_nats=free)
        torch.manual_seed(1)
        vae.training_step(batch, 0).backward()
        losses[free] = vae.to_code.bias.grad
    # Only the reconstruction moves the encoder where the term is free.
    vae = model()
    torch.manual_seed(1)
    (-vae.elbo(*batch).log_likelihood.mean()).backward()
    torch.testing.assert_close(losses[1000.0], vae.to_code.bias.grad)
    assert not torch.allclose(torch.as_tensor(losses[0.0]), torch.as_tensor(losses[1000.0]))


def test_notes_reconstructed() -> None:
    original = [Note(60, 8), Note(62, 8), Note(None, 8), Note(64, 8)]
    assert music.notes_reconstructed(original, original) == 1
    assert music.notes_reconstructed(original, []) == 0
    assert music.notes_reconstructed(original, [Note(60, 8), Note(61, 8), Note(None, 8), Note(64, 8)]) == 0.75
    # One wrong length moves all that comes after.
    assert music.notes_reconstructed(original, [Note(60, 4), Note(62, 8), Note(None, 8), Note(64, 8)]) == 0
    with pytest.raises(ValueError, match="the original has no notes"):
        music.notes_reconstructed([], original)


class Phrases(tunes.TuneData):
    """The few phrases above, many times."""

    def __init__(self) -> None:
        super(tunes.TuneData, self).__init__()
        self.context, self.batch_size = 12, 16
        same_metre = [[TOKEN["metre 3/4"], *tokens[1:]] for tokens in SEQUENCES]
        self.sequences = {"train": same_metre * 48, "validation": same_metre * 8}


@pytest.mark.parametrize("cures", [{}, {"free_nats": 1.6}])
def test_training_learns_what_it_is_shown_and_collapses_without_a_cure(cures: dict[str, float]) -> None:
    vae, data = model(width=32, learning_rate=2e-2, **cures), Phrases()
    history = training.fit(vae, data, max_epochs=40, seed=0, enable_progress_bar=False)
    # Three phrases, equally often: no model can be below log 3 on average.
    assert math.log(3) - 0.1 < history["val_loss"][-1] < math.log(3) + 0.8
    _, y = tunes.rows(data.sequences["train"][:3])
    copies = vae.sample(vae.encode(y)[0], "3/4")
    if cures:
        assert history["val_kl"][-1] > math.log(3)
        assert copies == data.sequences["train"][:3]
    else:
        assert history["val_kl"][-1] < 0.2


def test_warmup_raises_the_weight_to_beta() -> None:
    vae = model(warmup=0.5, beta=2.0)
    weights = []

    class Watched(music.MelodyVAE):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            torch.manual_seed(5)
            loss = super().training_step(batch, batch_idx)
            torch.manual_seed(5)
            reconstruction, kl = self.elbo(*batch)
            weights.append(float((loss + reconstruction.mean()).detach() / kl.mean().detach()))
            return loss

    vae.__class__ = Watched
    training.fit(vae, Phrases(), max_epochs=2, seed=0, enable_progress_bar=False)
    assert len(weights) == 18
    expected = [2.0 * min(1.0, step / 9) for step in range(18)]
    assert weights == pytest.approx(expected, abs=1e-3)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent_dim": 0}, "latent_dim is 0"),
        ({"width": 0}, "width is 0"),
        ({"embedding": 0}, "embedding is 0"),
        ({"beta": -1.0}, "beta is -1"),
        ({"free_nats": -1.0}, "free_nats is -1"),
        ({"warmup": 1.5}, "warmup is 1.5; it takes a share"),
        ({"word_dropout": 1.0}, "word_dropout is 1.0; it takes a chance"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**options)


@pytest.mark.bad_input
def test_wrong_input() -> None:
    vae = model()
    with pytest.raises(ValueError, match="a sequence has no tokens"):
        vae.encode(torch.full((2, 3), IGNORED))
    with pytest.raises(ValueError, match=r"z has the shape \(2, 3\); it takes \(batch, 4\)"):
        vae.sample(torch.zeros(2, 3), "2/4")
    with pytest.raises(ValueError, match="the metre is '7/4'"):
        vae.sample(torch.zeros(2, 4), "7/4")
    with pytest.raises(ValueError, match="temperature is -1"):
        vae.sample(torch.zeros(2, 4), "2/4", temperature=-1.0)
    with pytest.raises(ValueError, match="longest is 0"):
        vae.sample(torch.zeros(2, 4), "2/4", longest=0)
    x, y = tunes.rows(SEQUENCES)
    with pytest.raises(ValueError, match="whole numbers from 0 to"):
        vae.training_step((x + 10_000, y), 0)
