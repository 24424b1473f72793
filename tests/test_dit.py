"""The transformer for pictures: patches, positions, gates that begin at 0; and the network for vectors."""

from typing import Any

import pytest
import torch
from torch import nn

from aigc_course import diffusion, dit, training


def small(**options: Any) -> dit.DiT:
    return dit.DiT((2, 8, 12), width=16, depth=2, heads=2, patch=4, **options)


def shaken(network: nn.Module, size: float = 0.3) -> Any:
    """The network with random weights everywhere, also where it begins with zeros."""
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(size * torch.randn_like(weights))
    return network


def given(n: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(n, 2, 8, 12), torch.rand(n)


# --- patches and positions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_unpatchify_is_the_inverse_of_patchify(patch: int) -> None:
    x = torch.randn(3, 2, 8, 12)
    tokens = dit.patchify(x, patch)
    assert tokens.shape == (3, 96 // patch**2, 2 * patch**2)
    assert torch.equal(dit.unpatchify(tokens, patch, (2, 8, 12)), x)
    assert torch.equal(dit.patchify(dit.unpatchify(tokens, patch, (2, 8, 12)), patch), tokens)


def test_tokens_are_the_squares_in_reading_order() -> None:
    x = torch.arange(96.0).view(1, 1, 8, 12)
    tokens = dit.patchify(x, 4)
    for number in range(6):
        row, column = divmod(number, 3)
        square = x[0, 0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert torch.equal(tokens[0, number], square.flatten())


def test_positions_tell_all_places_apart_and_their_products_depend_on_the_distance() -> None:
    positions = dit.grid_positions(7, 9, 32).view(7, 9, 32)
    assert torch.cdist(positions.view(63, 32), positions.view(63, 32)).fill_diagonal_(9).min() > 0.1
    # sin a sin b + cos a cos b = cos(a - b), summed over all frequencies, for the rows and for the columns
    torch.testing.assert_close(positions[1, 2] @ positions[3, 5], positions[2, 4] @ positions[4, 7])
    torch.testing.assert_close(positions[0, 0] @ positions[0, 0], torch.tensor(16.0))
    assert torch.equal(positions[2, 3, :16], positions[2, 8, :16])  # the row
    assert torch.equal(positions[2, 3, 16:], positions[6, 3, 16:])  # the column


def test_positions_against_the_formula() -> None:
    positions, row, column = dit.grid_positions(3, 4, 8), 2, 1
    wanted = [wave for place in (row, column) for wave in (place, place / 100)]
    angles = torch.tensor(wanted).view(2, 2)
    expected = torch.cat([angles.sin(), angles.cos()], dim=1).flatten()
    torch.testing.assert_close(positions[4 * row + column], expected)


# --- the transformer --------------------------------------------------------------------------------------------------


def test_with_gates_at_zero_each_block_hands_its_input_on_and_the_network_says_zero() -> None:
    torch.manual_seed(0)
    network, (x, t) = small(num_classes=3), given()
    h, c = torch.randn(3, 6, 16), torch.randn(3, 16)
    for block in network.blocks:
        assert torch.equal(block(h, c), h)
    assert not network(x, t, torch.tensor([0, 1, 3])).any()
    other = small(gate=1.0)
    assert not any(torch.equal(block(h, c), h) for block in other.blocks)
    assert not other(x, t).any()  # its last layer begins at 0 too


def test_a_block_against_its_formula_for_single_tokens() -> None:
    torch.manual_seed(0)
    block = shaken(dit.Block(16, 2, 0.0))
    h, c = torch.randn(1, 5, 16), torch.randn(1, 16)
    amounts = block.modulation.amounts(c)[0].view(2, 3, 16)

    def normal(x: torch.Tensor) -> torch.Tensor:
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()

    gain, shift, gate = amounts[0]
    q, k, v = block.qkv((1 + gain) * normal(h) + shift)[0].chunk(3, dim=-1)
    heads = []
    for part in (slice(0, 8), slice(8, 16)):
        weights = (q[:, part] @ k[:, part].T / 8**0.5).softmax(dim=-1)
        heads.append(weights @ v[:, part])
    expected = h + gate * block.out(torch.cat(heads, dim=-1))
    gain, shift, gate = amounts[1]
    expected = expected + gate * block.mlp((1 + gain) * normal(expected) + shift)
    torch.testing.assert_close(block(h, c), expected, rtol=1e-4, atol=1e-4)


def test_tokens_permuted_together_with_their_positions_permute_the_output() -> None:
    torch.manual_seed(0)
    network, (x, t) = shaken(small()), given()
    order = torch.tensor([4, 0, 3, 5, 1, 2])

    def rearranged(pictures: torch.Tensor) -> torch.Tensor:
        return dit.unpatchify(dit.patchify(pictures, 4)[:, order], 4, (2, 8, 12))

    said = network(x, t)
    without = network(rearranged(x), t)
    network.positions = network.positions[order]
    torch.testing.assert_close(network(rearranged(x), t), rearranged(said), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(without, rearranged(said), atol=1e-2)  # with the positions as they were


def test_every_token_sees_every_other() -> None:
    torch.manual_seed(0)
    network, (x, t) = shaken(small()), given(1)
    x.requires_grad_()
    for token in range(6):
        gradient = torch.autograd.grad(dit.patchify(network(x, t), 4)[:, token].sum(), x)[0]
        assert (dit.patchify(gradient, 4).abs().sum(dim=2) > 0).all()


@pytest.mark.parametrize("kind", ["pictures", "vectors"])
def test_the_label_after_the_last_means_untold(kind: str) -> None:
    torch.manual_seed(0)
    network = shaken(small(num_classes=3) if kind == "pictures" else dit.LatentNetwork(5, 16, 2, num_classes=3))
    x, t = torch.randn(4, *network.shape), torch.rand(4)
    untold = network(x, t, torch.full((4,), 3))
    assert torch.equal(network(x, t), untold)
    assert not torch.allclose(network(x, t, torch.zeros(4, dtype=torch.long)), untold, atol=1e-3)


@pytest.mark.parametrize("kind", ["pictures", "vectors"])
def test_examples_of_a_batch_do_not_meet_and_time_matters(kind: str) -> None:
    torch.manual_seed(0)
    network = shaken(small() if kind == "pictures" else dit.LatentNetwork(5, 16, 2))
    x, t = torch.randn(4, *network.shape), torch.rand(4)
    said = network(x, t)
    for one in range(4):
        torch.testing.assert_close(network(x[one : one + 1], t[one : one + 1])[0], said[one], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(network(x, t / 2), said, atol=1e-3)


@pytest.mark.parametrize("kind", ["pictures", "vectors"])
def test_gradients_reach_all_weights_after_the_zeros_are_left(kind: str) -> None:
    torch.manual_seed(0)
    network = small(num_classes=3) if kind == "pictures" else dit.LatentNetwork(5, 16, 2, num_classes=3)
    model, labels = dit.Diffusion(network), torch.tensor([0, 1, 2, 3])
    x, optimizer = torch.randn(4, *network.shape), torch.optim.SGD(network.parameters(), 0.1)
    reached = []
    for _ in range(3):
        optimizer.zero_grad()
        model.loss(x, labels).backward()
        weights = network.named_parameters()
        reached.append({name for name, weight in weights if weight.grad is not None and weight.grad.any()})
        optimizer.step()
    assert reached[0] == {"last.weight", "last.bias"} if kind == "vectors" else "last.weight" in reached[0]
    assert reached[2] == {name for name, _ in network.named_parameters()}


# --- the network for vectors ------------------------------------------------------------------------------------------


def test_the_network_for_vectors_says_zero_at_first() -> None:
    torch.manual_seed(0)
    network = dit.LatentNetwork(5, 16, 2, num_classes=3)
    assert not network(torch.randn(4, 5), torch.rand(4), torch.arange(4)).any()


def test_it_learns_to_draw_points_by_class() -> None:
    torch.manual_seed(0)
    centres, classes = torch.tensor([[1.0, 1.0], [-1.0, 0.5], [0.0, -1.5]]), torch.arange(1536) % 3
    examples = torch.utils.data.TensorDataset(centres[classes] + 0.1 * torch.randn(1536, 2), classes)
    loader = torch.utils.data.DataLoader(examples, batch_size=128, shuffle=True)
    model = dit.Diffusion(dit.LatentNetwork(2, 32, 2, num_classes=3), learning_rate=5e-3)
    training.fit(model, loader, max_epochs=60, enable_progress_bar=False)
    asked = torch.arange(600) % 3
    drawn = diffusion.ddim(model.guess(asked), model.path, torch.randn(600, 2), 20)
    away = (drawn - centres[asked]).norm(dim=1)
    assert float(away.median()) < 0.25
    for label in range(3):
        assert float((drawn[asked == label].mean(dim=0) - centres[label]).norm()) < 0.2


def test_the_transformer_learns_two_pictures_by_class() -> None:
    torch.manual_seed(0)
    pictures = torch.stack([torch.ones(1, 8, 8), -torch.ones(1, 8, 8)])
    pictures[1, :, :4] = 1
    classes = torch.arange(64) % 2
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(pictures[classes], classes), batch_size=16)
    network = dit.DiT((1, 8, 8), width=32, depth=2, heads=2, patch=2, num_classes=2)
    model = dit.Diffusion(network, learning_rate=5e-3)
    training.fit(model, loader, max_epochs=100, enable_progress_bar=False)
    drawn = diffusion.ddim(model.guess(classes), model.path, torch.randn(64, 1, 8, 8), 10)
    assert float((drawn - pictures[classes]).square().mean().sqrt()) < 0.3


# --- checkpoints and errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pictures", "vectors"])
def test_a_checkpoint_brings_network_and_settings_back(kind: str, tmp_path: Any) -> None:
    torch.manual_seed(0)
    network = small(num_classes=3, gate=1.0) if kind == "pictures" else dit.LatentNetwork(5, 16, 2, num_classes=3)
    examples = torch.utils.data.TensorDataset(torch.randn(8, *network.shape), torch.arange(8) % 3)
    model = dit.Diffusion(network, untold=0.3, ema_decay=0.5)
    training.fit(model, torch.utils.data.DataLoader(examples, batch_size=4), max_epochs=1, enable_progress_bar=False)
    model.trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = dit.Diffusion.load_from_checkpoint(tmp_path / "model.ckpt")
    assert type(again.network) is type(network)
    assert again.network.arguments == network.arguments
    assert again.untold == 0.3
    x, t, labels = torch.randn(2, *network.shape), torch.tensor([0.3, 0.6]), torch.tensor([0, 2])
    torch.testing.assert_close(again.guess(labels)(x, t), model.guess(labels)(x, t))


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dit.DiT((1, 28, 30)), "28 × 30 pixels; patch = 4"),
        (lambda: dit.DiT((1, 28, 28), patch=5), "patch = 5 takes multiples"),
        (lambda: dit.DiT((1, 28, 28), patch=0), "patch is 0"),
        (lambda: dit.DiT((28, 28)), "it takes .colours, height, width."),
        (lambda: dit.DiT((0, 28, 28)), "colours is 0"),
        (lambda: dit.DiT((1, 28, 28), width=96, heads=5), "5 heads cannot share"),
        (lambda: dit.DiT((1, 28, 28), width=30, heads=5), "multiple of 4"),
        (lambda: dit.DiT((1, 28, 28), heads=0), "heads is 0"),
        (lambda: dit.DiT((1, 28, 28), depth=0), "depth is 0"),
        (lambda: dit.DiT((1, 28, 28), num_classes=-1), "num_classes is -1"),
        (lambda: dit.DiT((1, 28, 28), gate=float("nan")), "gate is nan"),
        (lambda: dit.LatentNetwork(0), "latent_dim is 0"),
        (lambda: dit.LatentNetwork(4, width=15), "width is 15"),
        (lambda: dit.LatentNetwork(4, width=0), "width is 0"),
        (lambda: dit.LatentNetwork(4, depth=0), "depth is 0"),
        (lambda: dit.LatentNetwork(4, num_classes=-1), "num_classes is -1"),
        (lambda: dit.grid_positions(0, 3, 8), "rows is 0"),
        (lambda: dit.grid_positions(3, 0, 8), "columns is 0"),
        (lambda: dit.patchify(torch.zeros(1, 1, 6, 8), 4), "6 × 8 pixels"),
        (lambda: dit.unpatchify(torch.zeros(1, 4, 16), 4, (1, 6, 8)), "6 × 8 pixels"),
        (lambda: dit.unpatchify(torch.zeros(1, 3, 16), 4, (1, 8, 8)), r"take \(4, 16\)"),
    ],
)
def test_wrong_arguments_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.bad_input
@pytest.mark.parametrize("kind", ["pictures", "vectors"])
def test_examples_and_labels_that_do_not_fit(kind: str) -> None:
    network: Any = small(num_classes=3) if kind == "pictures" else dit.LatentNetwork(5, 16, 2, num_classes=3)
    x, t = torch.randn(2, *network.shape), torch.rand(2)
    for labels in ([0, 4], [-1, 0]):
        with pytest.raises(ValueError, match="the network knows 0 to 2, and 3 for a class that is not told"):
            network(x, t, torch.tensor(labels))
    with pytest.raises(ValueError, match="x has the shape"):
        network(torch.randn(2, *[n + 4 for n in network.shape]), t)
    model = dit.Diffusion(network)
    with pytest.raises(ValueError, match="labels run from 3 to 3"):
        model.training_step((x, torch.full((2,), 3)), 0)
    with pytest.raises(ValueError, match="the network takes"):
        model.training_step((torch.randn(2, *[n + 4 for n in network.shape]), torch.zeros(2).long()), 0)
