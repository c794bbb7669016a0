"""Axis labels: the meaning of metric names and config keys in words, with units."""

from __future__ import annotations

import re

SUBSETS = {"train": "training subset", "eval": "held-out subset", "ood": "out-of-domain subset"}
# Metric names (docs/metrics.md) without subset and layer, in words and with units.
_METRICS = {
    "Acc": "accuracy",
    "Loss": "loss",
    "Perplexity": "perplexity",
    "WN": "L2 norm of the weights",
    "sparsity": "share of small weights",
    "active_weights": "weights that are not small",
    "logits_mean": "mean before the activation function",
    "logits_var": "variance before the activation function",
    "activations_mean": "mean activation",
    "activations_var": "variance of the activations",
    "num_dead_nrns": "dead neurons",
    "NC1": "spread within classes / between them",
    "softmax_collapse": "share of points with a collapsed softmax",
    "logit_scale": "L2 norm of the outputs",
    "lr": "learning rate",
    "time/seconds_per_step": "seconds per step",
    "ln n": "ln n (nats)",
    **{
        f"grad_{stem}_{of}": f"{words} of the {of} gradient"
        for stem, words in (("mean", "mean"), ("var", "variance"), ("norm", "L2 norm"))
        for of in ("weight", "bias")
    },
    **{f"grad_cos_{of}": f"cosine of {of} and its gradient" for of in ("weight", "bias")},
}
_PLACES = {
    **SUBSETS,
    "test": "held-out subset",
    "unseen": "held-out, no mirror in training",
    "total": "all layers",
    "global": "all parameters",
}
_KEYS = {
    "optimizer.lr": "learning rate",
    "optimizer.weight_decay": "weight decay",
    "data.train_fraction": "share of the questions that train",
    "data.train_points": "training points",
    "data.p": "modulus",
    "data.operation": "operation",
    "data.label_noise": "share of wrong labels",
    "model.init_scale": "scale of the initial weights",
    "model.noise_sigma": "noise of the layers",
    "rules.constant_norm.alpha": "norm of the weights / initial norm",
    "train.batch_size": "batch size",
}
_NAME = re.compile(
    r"(?P<stem>.+?)(?P<at>@[^_/]+)?(?:_(?P<subset>train|eval|ood)(?:\.(?P<part>[\w-]+))?)?(?:/(?P<place>.+))?"
)


def metric_words(name: str) -> tuple[str, str]:
    """Description of a recorded metric with its unit, and of its layer and subset; an unknown name is unchanged.

    Args:
        name: name of a column, such as `MI(L;Y)@0.1_eval/layer 2`.
    """
    found = _NAME.fullmatch(name)
    if name in _METRICS or found is None:
        return _METRICS.get(name, name), ""
    stem, words = found["stem"], _METRICS.get(found["stem"], "")
    if stem.startswith(("MI(", "H(")):
        errors = stem.endswith("_Errors")
        known = stem.removesuffix("_Errors").replace("MI(", "I(")
        at = f" at r = {found['at'][1:]}" if found["at"] else ""
        words = f"{'standard error of ' * errors}{known}{at} (nats)"
    if not words:
        return name, ""
    places = (found["place"], found["part"] and f"task {found['part']}", found["subset"])
    return words, ", ".join(_PLACES.get(place, place) for place in places if place)


def key_words(key: str, unit: str = "") -> str:
    """Label of a config key: its meaning with the unit, and the key below; only the key if it has no entry."""
    return f"{_KEYS[key]}{unit}\n{key}" if key in _KEYS else f"{key}{unit}"
