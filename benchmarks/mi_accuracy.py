"""How far the estimators are from known truths, for two vectors and for a vector against labels.

`python benchmarks/mi_accuracy.py --write` fills the tables of docs/estimators.md (some ten minutes on one core);
`--quick` looks at few cases and few samples. By these tables the estimators of `mi=compressed` were chosen.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from mi_cases import Case, pairs
from mi_label_cases import labelled
from torch import Tensor
from tqdm import tqdm

from grokplane.mi import KSG, ClassKL, Estimator, JointKL, Ross, WeightedKL, label_entropy
from grokplane.mi.degenerate import whiten
from grokplane.mi.local_kl import LocalKL
from grokplane.random import generator

PAGE = Path(__file__).parent.parent / "docs" / "estimators.md"
SEEDS = {1_000: 5, 10_000: 2}  # how many samples of every case
HARD = "nearly a function"

Value = Callable[[Tensor, Tensor], float]


def by(estimator: Estimator) -> Value:
    """Its value alone."""
    return lambda x, y: float(estimator(x, y).value)


def joint_and_weighted(x: Tensor, y: Tensor) -> float:
    """Mean of the jointly whitened estimate with the first neighbour and the weighted one."""
    return float(JointKL(k=1, shuffles=1)(x, y).value + WeightedKL()(x, y).value) / 2


PAIRED: dict[str, Value] = {
    "KSG(3)": by(KSG()),
    "WeightedKL(20)": by(WeightedKL()),
    "JointKL(3), 1 shuffle": by(JointKL(shuffles=1)),
    "JointKL(1), 1 shuffle": by(JointKL(k=1, shuffles=1)),
    "mean of JointKL(1) and WeightedKL(20)": joint_and_weighted,
    "LocalKL(1), 1 shuffle (mi=compressed)": by(LocalKL()),
}
SHUFFLED: dict[str, Value] = {
    "JointKL(3), 2 shuffles": by(JointKL(shuffles=2)),
    "JointKL(3), 8 shuffles": by(JointKL(shuffles=8)),
    "LocalKL(1), 4 shuffles": by(LocalKL(shuffles=4)),
    "LocalKL(3), 1 shuffle": by(LocalKL(k=3)),
}
LABELLED: dict[str, Value] = {
    "Ross(3) (mi=compressed)": by(Ross()),
    "Ross(3), whitened": lambda x, y: float(Ross()(whiten(x)[0], y).value),
    "ClassKL(3)": by(ClassKL()),
    "ClassKL(20, weighted, rescale)": by(ClassKL(20, weighted=True, rescale=True)),
}


@dataclass(frozen=True)
class Result:
    """What one estimator gave for one case.

    Attributes:
        values: one a seed.
        ceilings: H(Y) of the labels drawn, one a seed; none for two vectors.
    """

    case: Case
    estimator: str
    values: list[float]
    ceilings: list[float]

    @property
    def error(self) -> float:
        """Mean absolute error."""
        return sum(abs(value - self.case.truth) for value in self.values) / len(self.values)

    @property
    def bias(self) -> float:
        """Mean error with its sign."""
        return sum(self.values) / len(self.values) - self.case.truth

    @property
    def spread(self) -> float:
        """Sample deviation over the seeds."""
        return float(torch.tensor(self.values, dtype=torch.float64).std())


def measure(cases: Iterable[Case], estimators: dict[str, Value], count: int, seeds: int) -> list[Result]:
    """Every estimator on the same samples of every case."""
    results = []
    for case in tqdm(list(cases), desc=f"n = {count:,}", disable=None):
        drawn = [case.draw(generator(seed, f"{case.family}/{case.name}"), count) for seed in range(seeds)]
        ceilings = [float(label_entropy(y).value) for _, y in drawn if not y.is_floating_point()]
        for name, estimate in estimators.items():
            results.append(Result(case, name, [estimate(x, y) for x, y in drawn], ceilings))
    return results


def table(results: list[Result]) -> str:
    """Markdown: mean absolute error by family; over all but the hardest family bias, spread and the worst excess."""
    families = list(dict.fromkeys(result.case.family for result in results))
    labelled = bool(results[0].ceilings)
    ends = ["bias", "spread", "most above H(Y)" if labelled else "most above", *([] if labelled else ["lowest at 0"])]
    rows = [f"| estimator | {' | '.join([*families, *ends])} |", f"| --- |{' ---: |' * (len(families) + len(ends))}"]
    for name in dict.fromkeys(result.estimator for result in results):
        own = [result for result in results if result.estimator == name]
        cells = [_mean(result.error for result in own if result.case.family == family) for family in families]
        cells += _summary([result for result in own if result.case.family != HARD])
        rows.append(f"| {name} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
    return "\n".join(rows)


def _summary(own: list[Result]) -> list[float]:
    """Mean bias, mean spread, the largest excess, and for two vectors the lowest value where the truth is 0."""
    means = [_mean(result.bias for result in own), _mean(result.spread for result in own)]
    above = [v - top for result in own for v, top in zip(result.values, result.ceilings, strict=bool(result.ceilings))]
    if above:
        return [*means, max(above)]
    lowest = min((value for result in own if result.case.truth == 0 for value in result.values), default=math.nan)
    return [*means, max(result.bias for result in own), lowest]


def _mean(values: Iterable[float]) -> float:
    return float(torch.tensor(list(values), dtype=torch.float64).mean())


def quick() -> dict[str, str]:
    """A case of every family at n = 200."""
    some = {case.family: case for case in pairs() if case.truth > 0}
    classes = {case.family: case for case in labelled()}
    return {
        "pairs 200": table(measure(some.values(), PAIRED, 200, 2)),
        "labels 200": table(measure(classes.values(), LABELLED, 200, 2)),
    }


def full() -> dict[str, str]:
    """All cases."""
    found = {}
    for count, seeds in SEEDS.items():
        estimators = PAIRED | (SHUFFLED if count < 10_000 else {})  # more shuffles change little and cost much
        found[f"pairs {count}"] = table(measure(pairs(), estimators, count, seeds))
        found[f"labels {count}"] = table(measure(labelled(), LABELLED, count, seeds))
    return found


def written(page: str, tables: dict[str, str]) -> str:
    """The page with each table between the lines `<!-- NAME -->` and `<!-- end -->`.

    Raises:
        ValueError: if a table has no place in the page.
    """
    for name, text in tables.items():
        before, mark, after = page.partition(f"<!-- {name} -->\n")
        if not mark:
            raise ValueError(f"the page has no line <!-- {name} -->")
        page = f"{before}{mark}{text}\n<!-- end -->{after.partition('<!-- end -->')[2]}"
    return page


def main() -> None:
    """Print the tables, or write them to the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few cases, n = 200, printed only")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/estimators.md")
    parser.add_argument("--threads", type=int, default=1, help="of the neighbour searches")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    tables = quick() if options.quick else full()
    if options.write and not options.quick:
        PAGE.write_text(written(PAGE.read_text(), tables))
    for name, text in tables.items():
        print(f"\n{name}\n\n{text}", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
