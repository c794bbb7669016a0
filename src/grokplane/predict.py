"""`python -m grokplane.predict RUN "a,b" ...`: what a trained run answers, with probabilities."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from grokplane.answers import LabelSequence
from grokplane.app.commands import Parser, at_least, run_command
from grokplane.app.decoding import decode
from grokplane.app.errors import Refused
from grokplane.app.runs import load_trained
from grokplane.app.trained import Trained
from grokplane.data import Examples
from grokplane.options import name_of
from grokplane.say import format_table, note, say
from grokplane.strict_json import to_json
from grokplane.train import Stack
from grokplane.waiting import BEFORE_REFUSALS, Doing

TOP = 3
SUBSETS = {"train": "train", "test": "held-out", "ood": "out of domain"}
DESCRIPTION = """\
What the network of a run answers to questions, by its last checkpoint or that of --step. If a question is in the run's
own table, the right answer is told too, and whether the run was trained on the question or it was held out."""
EPILOG = """\
Probabilities are those of the run's own loss: softmax for cross_entropy, StableMax for stablemax. mse and hinge
have none: the outputs themselves are printed, as scores. Where the answers are numbers, all outputs are printed.

example:
  python -m grokplane.predict outputs/default/2025-01-31_12-00-00-000000 "3,4" "50,50" --top 5

Exit code: 0; 2 for what cannot be answered, with one line that says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Answer the questions of a command line; its exit code."""
    return run_command(lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> None:
    parser = Parser("predict", DESCRIPTION, EPILOG)
    parser.add_argument("questions", nargs="+", metavar="QUESTION", help='operands with commas between them: "3,4"')
    parser.add_argument(
        "--top", type=at_least(0), metavar="K", help=f"how many further answers are listed; default: {TOP}"
    )
    parser.add_argument("--json", action="store_true", help="one strict JSON object for each question, a line each")
    # A question such as "-1,1" is no flag: what begins with a space is none to argparse.
    options = parser.parse_args([f" {word}" if re.match(r"-[\d.]", word) else word for word in argv])
    with Doing("reading the run and answering", BEFORE_REFUSALS):
        run = load_trained(options.run, options.module, options.step)
        run.prepare_process()
        found = predict(run, [question.strip() for question in options.questions], options.top)
    if run.note:
        note(run.note)
    text = f"{run.title}{_about(found, run)}\n\n{_table(found)}"
    if not say("\n".join(map(to_json, found)) if options.json else text):
        raise Refused("the answers are lost")


def predict(run: Trained, questions: Sequence[str], top: int | None = None) -> list[dict[str, Any]]:
    """What a run answers, a plain dict for each question.

    Class labels: `answer` and its `probability` (or `score`, where the loss defines no probabilities), `next`, a list
    of the same for the answers that follow, and for a training question `taught`, its answer with label noise.
    Sequences of labels: the same with lists as answers and an empty `next`; an answer that is fed back is decoded token
    by token, and `text` has it, the right one and the taught one as text if the task can write them. Regression:
    `outputs` and the `squared_error`, the mean over them. All: `right_answer`, `correct`, `subset` ("train", "held-out"
    or "out of domain"), all None for a question that is not in the run's table.

    Args:
        run: the run at a step.
        questions: operands with commas between them.
        top: how many answers `next` holds; None: 3.

    Raises:
        ConfigError: operands that are too many or too few, out of range or no numbers.
        Refused: a `top` for a run whose answers have no order.
    """
    member = run.member
    asked = [member.data.ask(question.split(",")) for question in questions]
    examples, stack = run.examples, run.stack()
    answers = examples.table.answers
    if answers.unranked and top is not None:
        raise Refused(f"--top={top}: this run's answers are {answers.unranked}; leave it out")
    say_of = partial(
        answers.said, probabilities=getattr(member.loss, "probabilities", None), top=TOP if top is None else top
    )
    with torch.no_grad():
        if isinstance(answers, LabelSequence) and answers.fed_back:
            decoded = decode(partial(_outputs, stack), asked, answers, examples.table.inputs.shape[1])
            said = [one for outputs in decoded for one in say_of(outputs[None])]
        else:
            said = say_of(_outputs(stack, torch.stack(asked)))
    found = [
        {"question": question} | one | _truth(one, examples, row)
        for question, one, row in zip(questions, said, asked, strict=True)
    ]
    spell = getattr(member.data, "spell", None)
    return found if spell is None else [one | {"text": _spelled(one, spell)} for one in found]


def _outputs(stack: Stack, inputs: Tensor) -> Tensor:
    """Outputs [Q, ...] of inputs [Q, ...] in float64."""
    given = inputs.to(stack.device, stack.dtype if inputs.is_floating_point() else torch.int64)
    return stack.network(stack.network.encode(given[None]))[0].cpu().double()


def _spelled(one: Mapping[str, Any], spell: Callable[[Sequence[int]], str]) -> dict[str, str | None]:
    """The answers of a question as the task writes them."""
    answers = {name: one[name] for name in ("answer", "right_answer", "taught")}
    return {name: None if tokens is None else spell(tokens) for name, tokens in answers.items()}


def _truth(said: dict[str, Any], examples: Examples, question: Tensor) -> dict[str, Any]:
    """What the run's own table says of a question [L], or [K] without its answer."""
    table, subset, right, taught = examples.table, None, None, None
    same = table.inputs[:, : len(question)] == question  # where inputs contain the answer, the question comes first
    rows = same.flatten(1).all(1).nonzero().flatten().tolist()
    if rows:
        used = torch.cat(list(examples.subsets.values()))
        row = next((row for row in rows if bool((used == row).any())), rows[0])
        right, place = table.targets[row], (examples.train == row).nonzero().flatten()
        subset = next((SUBSETS[name] for name, own in examples.subsets.items() if bool((own == row).any())), None)
        taught = examples.train_targets[place[0]] if len(place) else None
    found = table.answers.judged(said, right, taught)
    return {"right_answer": found["right_answer"], "correct": found["correct"], "subset": subset} | found


def _about(found: Sequence[Mapping[str, Any]], run: Trained) -> str:
    if "outputs" in found[0]:
        return ""
    loss = name_of(run.member.loss)
    if "score" in found[0]:
        return f"; scores are the outputs themselves: loss={loss} has no probabilities"
    return f"; probabilities are those of loss={loss}"


def _table(found: Sequence[Mapping[str, Any]]) -> str:
    head, line, numeric = _REGRESSION if "outputs" in found[0] else _LABELS
    rows = [line(one) for one in found]
    head = [word.replace("probability", "score" if "score" in found[0] else "probability") for word in head]
    return format_table([head, *rows], [word in numeric for word in head])


def _label_row(one: Mapping[str, Any]) -> list[str]:
    one = {**one, **one.get("text", {})}
    subset = _or_dash(one["subset"], "not in the table")
    if one["taught"] not in (None, one["right_answer"]):
        subset += f", taught {one['taught']}"
    following = ", ".join(f"{other['answer']} ({_number(other)})" for other in one["next"])
    verdict = _verdict(one["correct"])
    return [
        one["question"],
        str(one["answer"]),
        _number(one),
        _or_dash(one["right_answer"]),
        verdict,
        subset,
        following,
    ]


def _regression_row(one: Mapping[str, Any]) -> list[str]:
    right, error = one["right_answer"], one["squared_error"]
    return [
        one["question"],
        _numbers(one["outputs"]),
        "-" if right is None else _numbers(right),
        "-" if error is None else f"{error:.1e}",
        _verdict(one["correct"]),
        _or_dash(one["subset"], "not in the table"),
    ]


_LABELS = (
    ["question", "answer", "probability", "right answer", "correct", "subset", "next"],
    _label_row,
    {"answer", "probability", "score", "right answer"},
)
_REGRESSION = (
    ["question", "outputs", "right answer", "squared error", "correct", "subset"],
    _regression_row,
    {"squared error"},
)


def _number(one: Mapping[str, Any]) -> str:
    if "score" in one:
        return f"{one['score']:.4g}"
    return f"{one['probability']:.4f}" if one["probability"] >= 5e-5 else f"{one['probability']:.0e}"


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


def _verdict(correct: bool | None) -> str:
    return "-" if correct is None else "yes" if correct else "no"


def _or_dash(value: object, dash: str = "-") -> str:
    return dash if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
