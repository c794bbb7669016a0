"""The symmetric group S5 as a task: Power et al. 2022, "Grokking", appendix A.1."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from grokplane.answers import Labels
from grokplane.data import questions
from grokplane.data.layouts import LAYOUTS
from grokplane.data.split_task import SplitTask
from grokplane.data.table import Table
from grokplane.options import checked, option

GROUP = "data"
ELEMENTS, ORDER = 5, 120


@cache
def _images() -> Tensor:
    """The permutations [120, 5] in lexicographic order: row a holds a(0), ..., a(4)."""
    return torch.tensor(list(permutations(range(ELEMENTS))))


def _number(images: Tensor) -> Tensor:
    """Lexicographic indices [N] of permutations [N, 5]."""
    digits = ELEMENTS ** torch.arange(ELEMENTS - 1, -1, -1)
    return torch.searchsorted((_images() * digits).sum(1), (images * digits).sum(1))


def compose(a: Tensor, b: Tensor) -> Tensor:
    """a∘b, which applies b first: (a∘b)(i) = a(b(i)); indices [N], [N] -> [N]."""
    return _number(_images()[a].gather(1, _images()[b]))


def invert(a: Tensor) -> Tensor:
    """a^-1, indices [N] -> [N]."""
    return _number(_images()[a].argsort(1))


PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "s5": compose,
    "s5_conjugate": lambda a, b: compose(compose(a, b), invert(a)),
    "s5_aba": lambda a, b: compose(compose(a, b), a),
}


@dataclass(frozen=True)
@checked
class Permutations(SplitTask):
    """All pairs of the 120 permutations of 5 elements under a∘b, a∘b∘a^-1 or a∘b∘a.

    A permutation's token is its lexicographic index; the identity is 0. The classes are the layout's tokens.
    """

    split: Any = option(help="which pairs train: data/split=random, balanced, curriculum, label_holdout or ordered")
    operation: str = option("s5", "a∘b, a∘b∘a^-1 or a∘b∘a, where a∘b does b first", choices=PRODUCTS, stackable=True)
    layout: str = option("operands", "tokens of a question: a b, a op b =, or (equals) a b =", choices=LAYOUTS)
    train_fraction: float | None = option(0.5, "fraction of the pairs for training", above=0, below=1, stackable=True)

    def table(self, seed: int) -> Table:  # noqa: ARG002 (nothing of it is drawn)
        """All 14,400 pairs, ordered by the first operand and then by the second; inputs [14400, 2 to 4]."""
        pairs, layout = torch.cartesian_prod(torch.arange(ORDER), torch.arange(ORDER)), LAYOUTS[self.layout]
        vocabulary = ORDER + layout.symbols
        answers = PRODUCTS[self.operation](*pairs.unbind(1))
        fixed = layout.fixed(2, ORDER)
        return Table(
            layout.write(pairs, ORDER),
            answers,
            vocabulary,
            Labels(vocabulary),
            fixed=fixed,
            operands=pairs,
            symbols=layout.symbols,
        )

    def ask(self, operands: Sequence[str]) -> Tensor:
        """The question of two permutations by their indices, tokens [L] int64; ConfigError for other operands."""
        pair = questions.residues(operands, 2, ORDER)
        return LAYOUTS[self.layout].write(torch.tensor([pair]), ORDER)[0]


CHOICES = {"permutations": Permutations}
