"""Other random numbers for a chapter: what its text says of a result must hold with them too."""

import random
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def shift(by: int) -> None:
    """Add `by` to every seed that this process sets from now on, in a chapter, in its recipes and in its games.

    The data stay the same: what `aigc_course.data` draws, a split above all, is drawn by the seed that stands there.
    """

    def moved(seed: Any) -> Any:
        given_by_data = sys._getframe(2).f_globals.get("__name__", "").startswith("aigc_course.data")
        return seed + by if isinstance(seed, int | np.integer) and not given_by_data else seed

    def shifted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(seed: Any = None, *arguments: Any, **options: Any) -> Any:
            return function(moved(seed), *arguments, **options)

        return call

    class Generator(torch.Generator):
        def manual_seed(self, seed: int) -> torch.Generator:
            return super().manual_seed(moved(seed))

    torch.Generator = Generator  # type: ignore[misc]
    torch.manual_seed = shifted(torch.manual_seed)
    random.seed = shifted(random.seed)
    np.random.seed = shifted(np.random.seed)
    np.random.default_rng = shifted(np.random.default_rng)
    # Gymnasium and the Arcade Learning Environment make their generators of this.
    np.random.SeedSequence = shifted(np.random.SeedSequence)  # type: ignore[misc, assignment]
