"""Any ordinary nn.Module as a model, named in the config; see docs/adapter.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from grokplane.models.base import Signature
from grokplane.models.functional import StackedModule
from grokplane.models.module_factory import Factory
from grokplane.models.module_trial import check_alone, check_causal, check_stacked, example
from grokplane.options import checked, option


@dataclass(frozen=True)
@checked
class Module:
    """A torch.nn.Module of the user's own: [B, L] tokens or [B, ...] features -> [B, C], stacked by torch.func.

    For answers that are sequences of T tokens the outputs are [B, T, C]; output t is read at input L - T + t. If the
    inputs contain the answer, no output may depend on later inputs.
    """

    makes_its_parts: ClassVar[bool] = True

    module: dict[str, Any] = option(help="the module's class, `_target_`, and its constructor's arguments")
    init_scale: float = option(1.0, "factor on every initial parameter", above=0, stackable=True)

    @property
    def init(self) -> str:
        """The module draws its own initial weights."""
        return "own"

    def network(self, members: int, signature: Signature) -> StackedModule:
        """Build the stack, with initial weights that do not depend on the members' seeds yet.

        Raises:
            ConfigError: a class or arguments that do not fit, a module that fails on a batch of the task's shapes, a
                module that cannot be stacked, or one that sees the answer among later inputs.
        """
        given = {key: value for key, value in self.module.items() if key != "_target_"}
        factory = Factory(str(self.module.get("_target_", "???")), given, signature)
        points = example(signature)
        if signature.causal:
            signature.check_read_out("module")
        check_alone(factory, points, signature.output_shape)
        if signature.causal and signature.positions is not None:
            check_causal(factory, points, signature.positions)
        network = StackedModule(members, factory, points)
        check_stacked(network, factory, points)
        return network


GROUP = "model"
CHOICES = {"module": Module}
