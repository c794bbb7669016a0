"""Arithmetic with numbers that are written as digits; the answer is predicted digit by digit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grokplane.answers import LabelSequence
from grokplane.data import draws, numerals, questions
from grokplane.data.arithmetic import FORMULAS, PLAIN, Pairs, answers, largest
from grokplane.data.mirrors import mirror_classes
from grokplane.data.numerals import Numerals
from grokplane.data.table import Table
from grokplane.data.teacher_forcing import Population, TaughtTask, Written, taught
from grokplane.options import ConfigError, checked, option
from grokplane.unread import Surroundings

GROUP = "data"
MAKING = 5  # peak memory of building the table, measured, in units of the table's size
FORMATS = ("fixed", "variable")
LARGEST_OPERAND = 10**9  # below it, every product is exact in int64, and questions can be numbered


@dataclass(frozen=True)
@checked
class DigitSequence(TaughtTask):
    """Questions `a op b =` and answers in digits of a base, which are fed back to the network (teacher forcing).

    Tokens are the B digits, then `op` (B), `=` (B + 1) and, in the variable format, the end of the answer (B + 2) and
    the padding (B + 3).
    """

    split: Any = option(help="which questions train: data/split=random, unordered or ordered")
    base: int = option(10, "number of digits B", at_least=2, at_most=10_000)
    digits: int = option(2, "operands have 1 to this many digits", at_least=1, at_most=29)
    operation: str = option("add", "operation on the two operands", choices=[*PLAIN, *FORMULAS])
    modulus: int | None = option(None, "answers are taken modulo this number; null: plain", at_least=2, at_most=10**6)
    format: str = option("fixed", "with leading zeros, or (variable) without them and with an end", choices=FORMATS)
    operands_reversed: bool = option(False, "operands begin with their least significant digit", stackable=True)
    answer_reversed: bool = option(False, "the answer begins with its least significant digit", stackable=True)
    answer_digits: int | None = option(
        None, "most digits of an answer; null: those of the longest answer", at_least=1, at_most=62
    )
    questions: int | None = option(
        None, "size of a random subset of the questions; null: all of them", at_least=2, stackable=True
    )
    ood_digits: int | None = option(
        None, "both operands of out-of-domain questions have more than `digits` and up to this many digits", at_most=29
    )
    ood_questions: int | None = option(
        1_000, "number of out-of-domain questions, drawn; null: all", at_least=1, stackable=True
    )
    train_fraction: float | None = option(
        0.5, "fraction of the questions for training", above=0, below=1, stackable=True
    )

    def __post_init__(self) -> None:
        if self.operation in FORMULAS and self.modulus is None:
            allowed = f"needs a data.modulus; without one: {', '.join(PLAIN)}"
            raise ConfigError("data.operation", self.operation, allowed)
        if self.ood_digits is not None and self.ood_digits <= self.digits:
            allowed = f"must be above data.digits ({self.digits}), the digits of the questions that train, or null"
            raise ConfigError("data.ood_digits", self.ood_digits, allowed)
        if self.base**self._width > LARGEST_OPERAND:
            key = "digits" if self.ood_digits is None else "ood_digits"
            most = max(width for width in range(1, 30) if self.base**width <= LARGEST_OPERAND)
            raise ConfigError(f"data.{key}", self._width, f"must be at most {most} in base {self.base}")

    def unread(self, around: Surroundings) -> dict[str, str]:  # noqa: ARG002 (its own keys decide)
        """See `grokplane.unread`."""
        return {} if self.ood_digits else {"ood_questions": "data.ood_digits is null"}

    def population(self, seed: int) -> Population:
        """Pairs of the domain, then those out of it; answers [N].

        Raises:
            ConfigError: more questions than exist or than fit in memory, or answers that do not fit their digits.
        """
        pairs = [self._pairs(0, self.digits, "questions", seed)]
        if self.ood_digits is not None:
            pairs.append(self._pairs(self.digits, self.ood_digits, "ood_questions", seed))
        operands = torch.cat(pairs)
        found = answers(self.operation, operands[:, 0], operands[:, 1], self.modulus)
        self._check_answers(operands, found)
        return Population(operands, found, len(pairs[0]))

    def _pairs(self, shorter: int, digits: int, key: str, seed: int) -> Tensor:
        """The questions [N, 2] with more than `shorter` and up to `digits` digits, or a subset of them."""
        low = self.base**shorter if shorter else 0
        pairs = Pairs(low, self.base**digits, self._descending)
        row_bytes = MAKING * 2 * (self._question + self._answer) * torch.int64.itemsize
        return pairs.at(draws.rows_of(f"data.{key}", getattr(self, key), len(pairs), row_bytes, seed, key))

    def _check_answers(self, operands: Tensor, found: Tensor) -> None:
        row = int(found.argmax())
        if numerals.length(int(found[row]), self.base) > self._numerals(answer=True).width:
            a, b = operands[row].tolist()
            allowed = f"the answer to {a},{b} is {found[row]}, which does not fit; must be at least {self._longest}"
            raise ConfigError("data.answer_digits", self.answer_digits, f"{allowed}, or null")

    def table_of(self, population: Population) -> Table:
        """See `TaughtTask`; the groups `length_1`, `length_2`, ... are those of the answer's digits."""
        operands, found, _ = population
        inputs, targets = self.write(operands, found)
        swapped = answers(self.operation, operands[:, 1], operands[:, 0], self.modulus)
        lengths = self._numerals(answer=True).lengths(found)
        return Table(
            inputs,
            targets,
            self._vocabulary,
            LabelSequence(self._vocabulary, targets.shape[1], fed_back=True, end=self._end),
            fixed={self._width: self.base, self._question - 1: self.base + 1} if self._padded else {},
            mirrors=mirror_classes(operands, found) if torch.equal(found, swapped) else None,
            groups={f"length_{length}": lengths == length for length in lengths.unique().tolist()},
            operands=operands,
            symbols=self._vocabulary - self.base,
        )

    def write(self, operands: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        """See `TaughtTask`."""
        answer = self._numerals(answer=True).write(answers)
        if self._end is not None:
            answer = _joined([answer, _symbol(self._end, answers)])
        first = self._question - 1 if self._padded else len("a+b")
        return taught(self._asked(operands), answer, first, self.base + 3)

    def _asked(self, operands: Tensor) -> Written:
        """The tokens of questions: a op b =."""
        numbers, (a, b) = self._numerals(), operands.unbind(1)
        parts = [numbers.write(a), _symbol(self.base, a), numbers.write(b), _symbol(self.base + 1, b)]
        return _joined(parts)

    def ask(self, operands: Sequence[str]) -> Tensor:
        """The question of two numbers without its answer [K]; ConfigError for other operands."""
        pair = questions.residues(operands, 2, self.base**self._width)
        if self._descending and pair[0] < pair[1]:
            raise questions.refused(operands, "the first operand must not be below the second")
        tokens, written = self._asked(torch.tensor([pair]))
        return tokens[written]

    def spell(self, tokens: Sequence[int]) -> str:
        """The number that an answer's tokens are, in decimal; what is no number as its tokens: `4 = 7`."""
        ended = self._end is None or list(tokens[-1:]) == [self._end]
        number = self._numerals(answer=True).read(tokens if self._end is None else tokens[:-1]) if ended else None
        names = dict(enumerate((self.operation, "=", "end", "pad"), self.base))
        return str(number) if number is not None else " ".join(names.get(token, str(token)) for token in tokens)

    def _numerals(self, answer: bool = False) -> Numerals:
        if answer:
            return Numerals(self.base, self._answer, self.answer_reversed, self._padded)
        return Numerals(self.base, self._width, self.operands_reversed, self._padded)

    @property
    def _padded(self) -> bool:
        return self.format == "fixed"

    @property
    def _descending(self) -> bool:
        """Whether only pairs a >= b are asked, so that no answer is negative."""
        return self.modulus is None and PLAIN[self.operation].descending

    @property
    def _end(self) -> int | None:
        return None if self._padded else self.base + 2

    @property
    def _vocabulary(self) -> int:
        return self.base + (2 if self._padded else 4)

    @property
    def _width(self) -> int:
        """Most digits of an operand, out-of-domain ones included."""
        return max(self.digits, self.ood_digits or 0)

    @property
    def _question(self) -> int:
        """Most tokens of a question."""
        return 2 * self._width + 2

    @property
    def _longest(self) -> int:
        return numerals.length(largest(self.operation, self.base**self._width - 1, self.modulus), self.base)

    @property
    def _answer(self) -> int:
        """Most digits of an answer."""
        return self._longest if self.answer_digits is None else self.answer_digits


def _symbol(token: int, rows: Tensor) -> Written:
    """One token that is written in every row."""
    tokens = torch.full((len(rows), 1), token)
    return tokens, torch.ones_like(tokens, dtype=torch.bool)


def _joined(parts: Sequence[Written]) -> Written:
    tokens, written = zip(*parts, strict=True)
    return torch.cat(tokens, 1), torch.cat(written, 1)


CHOICES = {"sequence": DigitSequence}
