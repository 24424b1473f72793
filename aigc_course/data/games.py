"""Pictures of a game, played on the spot: frames of River Raid from the Arcade Learning Environment."""

import numpy as np
from numpy.typing import NDArray

from aigc_course.checks import importing_extra
from aigc_course.data.files import cached_arrays

FRAME_COUNTS = {"train": 4_000, "validation": 500, "test": 500}
# The river without the black margin and the panel with score and fuel below it.
_ROWS, _COLUMNS = slice(2, 162), slice(8, 160)
_LARGEST = 152
# One action lasts two frames of the console, a thirtieth of a second; every eighth action a picture is taken. By then
# the landscape has moved by about a tenth of the picture or more.
_FRAMES_AN_ACTION, _ACTIONS_A_PICTURE = 2, 8


def read_frames(size: int) -> dict[str, NDArray[np.uint8]]:
    """Return `play_river_raid(size, FRAME_COUNTS)`, from the cache after the first call, which takes seconds."""
    shapes = {split: (count, 3, size, size) for split, count in FRAME_COUNTS.items()}
    return cached_arrays(f"atari{size}.npz", shapes, lambda: play_river_raid(size, FRAME_COUNTS))


def play_river_raid(size: int, counts: dict[str, int], seed: int = 0) -> dict[str, NDArray[np.uint8]]:
    """Play River Raid at random; return pictures (n, 3, size, size), values 0 … 255, for each split of `counts`.

    Every action is drawn evenly from the game's 18, by a generator of our own. The emulator's sticky actions (Machado
    et al., 2018, https://arxiv.org/abs/1709.06009) are switched off: they keep an agent from learning one sequence of
    actions by heart, and random actions are no such sequence.

    **Splits.** Two pictures in a row resemble each other, so they must not stand one in the training data and one in
    the test data. A player's *life* is therefore the unit: all its pictures go to one split, drawn at random with
    chances in proportion to `counts`, and with the next life the game starts again from a bridge. No picture comes
    twice.

    Source: Bellemare et al. (2013), https://arxiv.org/abs/1207.4708.

    Raises `ValueError` for a size that is not between 1 and 152, or a count below 1, and `ModuleNotFoundError` if the
    package's extra `games` is not installed.
    """
    if not 1 <= size <= _LARGEST:
        raise ValueError(f"size is {size}; it takes 1 to {_LARGEST}.")
    if not counts or min(counts.values()) < 1:
        raise ValueError(f"counts is {counts}; it takes at least one split, and at least 1 for each.")
    with importing_extra("games"):
        from ale_py import ALEInterface, LoggerMode, roms  # brings gymnasium with it, and is needed once

    ALEInterface.setLoggerMode(LoggerMode.Error)  # no banner
    game = ALEInterface()
    game.setInt("random_seed", seed)
    game.setFloat("repeat_action_probability", 0.0)
    game.setInt("frame_skip", _FRAMES_AN_ACTION)
    game.loadROM(str(roms.get_rom_path("riverraid")))
    actions = game.getMinimalActionSet()
    generator = np.random.default_rng(seed)
    pictures: dict[str, list[NDArray[np.uint8]]] = {split: [] for split in counts}
    seen: set[bytes] = set()
    while unfilled := [split for split in counts if len(pictures[split]) < counts[split]]:
        if game.game_over():
            game.reset_game()
        wanted = np.array([counts[split] for split in unfilled])
        split = unfilled[generator.choice(len(unfilled), p=wanted / wanted.sum())]
        lives = game.lives()
        while len(pictures[split]) < counts[split]:
            for action in generator.integers(len(actions), size=_ACTIONS_A_PICTURE):
                game.act(actions[action])
            if game.lives() < lives or game.game_over():
                break
            picture = _shrink(game.getScreenRGB()[_ROWS, _COLUMNS], size)
            if picture.tobytes() not in seen:
                seen.add(picture.tobytes())
                pictures[split].append(picture)
        else:
            game.reset_game()  # the split is full, and the rest of this life belongs nowhere
    return {split: np.stack(chosen) for split, chosen in pictures.items()}


def _shrink(screen: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Average over areas, (height, width, 3) to (3, size, size), in whole numbers: the same on every machine."""
    height, width, _ = screen.shape
    sums = _stretches(_stretches(screen.astype(np.int64), size).swapaxes(0, 1), size)  # (column, row, colour)
    return ((sums + height * width // 2) // (height * width)).astype(np.uint8).transpose(2, 1, 0)


def _stretches(values: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Cut the first axis into `size` equal stretches, return the sum over each, times `size` to stay whole.

    The sum from the start to a place between two numbers is that of the numbers before it and a part of the next one.
    """
    before, part = np.divmod(np.arange(size + 1) * len(values), size)  # a place is before + part / size
    ended = np.concatenate([values, np.zeros_like(values[:1])])
    sums = np.concatenate([np.zeros_like(values[:1]), values.cumsum(axis=0)])
    return np.diff(size * sums[before] + part[:, None, None] * ended[before], axis=0)
