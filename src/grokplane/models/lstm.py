"""Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000), stacked over members."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grokplane.models.base import Signature, StackedModel, Tap
from grokplane.models.dropout import Dropout
from grokplane.models.init import INITIALISATIONS
from grokplane.models.layers import Embedding, Linear, affine
from grokplane.models.lookup import Lookup
from grokplane.models.recurrence import Workspace, recurrence
from grokplane.options import ConfigError, checked, option


@dataclass(frozen=True)
@checked
class LSTM:
    """LSTM layers over the tokens of a question, and a linear read-out of the last hidden state.

    For answers that are sequences of T tokens the last T hidden states are read.
    """

    layers: int = option(1, "number of LSTM layers", at_least=1, at_most=1_000)
    width: int = option(128, "width of the hidden states", at_least=1)
    input: str = option("embedding", "encoding of the tokens", choices=["embedding", "onehot"])
    embedding_dim: int | None = option(None, "width of the embedding; null: model.width", at_least=1)
    dropout: float = option(0.0, "dropout between layers and before the read-out", at_least=0, below=1, stackable=True)
    init: str = option("torch", "initialisation of weights", choices=INITIALISATIONS)
    init_scale: float = option(1.0, "factor on every initial parameter", above=0, stackable=True)

    def network(self, members: int, signature: Signature) -> StackedLSTM:
        """Build the stack; its parameters are not drawn yet.

        Raises:
            ConfigError: a task whose input is not tokens or has fewer tokens than answers, or a width for an embedding
                that does not exist.
        """
        if signature.vocabulary is None:
            raise ConfigError("model", "lstm", "reads tokens, and this task's input is features")
        if self.input == "onehot" and self.embedding_dim is not None:
            allowed = "model.input=onehot embeds nothing; leave it null"
            raise ConfigError("model.embedding_dim", self.embedding_dim, allowed)
        signature.check_read_out("lstm")
        return StackedLSTM(members, signature, self)


class LSTMLayer(nn.Module):
    """E layers with torch.nn.LSTM's parameters: weight_ih [E, 4H, in], weight_hh [E, 4H, H], biases [E, 4H].

    There are two biases only so that weights can be copied to and from torch.nn.LSTM; only their sum matters.
    """

    def __init__(self, members: int, fan_in: int, width: int) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(members, 4 * width, fan_in))
        self.weight_hh = nn.Parameter(torch.empty(members, 4 * width, width))
        self.bias_ih = nn.Parameter(torch.empty(members, 4 * width))
        self.bias_hh = nn.Parameter(torch.empty(members, 4 * width))
        self._workspace = Workspace()

    def forward(self, x: Tensor, last: int | None, embedding: Tensor | None = None) -> Tensor:
        """Hidden states of all steps [E, L, B, H], or of the last ones [E, last, B, H].

        Args:
            x: inputs [E, L, B, in]; with an embedding, one-hot tokens [E, L, B, V] or tokens [E, L, B] int64.
            last: number of the last steps to return; None: all steps.
            embedding: table of the tokens' vectors [E, V, in]; None if x is the inputs themselves.
        """
        matrix = self.weight_ih.mT if embedding is None else affine(embedding, self.weight_ih)
        # A log point may need no backward pass, and its batch has another size.
        workspace = self._workspace if self.training and torch.is_grad_enabled() else None
        return recurrence(x, matrix, self.bias_ih + self.bias_hh, self.weight_hh, last, workspace)

    def reset(self, member: int, init: str, generator: torch.Generator) -> None:
        """Draw one member's parameters; "torch" is U(-1/sqrt(H), 1/sqrt(H)), as in torch.nn.LSTM."""
        if init == "torch":
            bound = self.weight_hh.shape[2] ** -0.5
            for parameter in self.parameters():
                nn.init.uniform_(parameter[member], -bound, bound, generator)
            return
        draw = INITIALISATIONS[init].linear
        draw(self.weight_ih[member], self.bias_ih[member], generator)
        draw(self.weight_hh[member], self.bias_hh[member], generator)


class StackedLSTM(StackedModel):
    """E LSTMs; layers "embedding" (if there is one), "layer 1" to "layer K", and the read-out "layer K+1"."""

    capturable = True

    def __init__(self, members: int, signature: Signature, config: LSTM) -> None:
        super().__init__()
        vocabulary, self.answers = signature.vocabulary, signature.positions
        assert vocabulary is not None
        embedded = config.input == "embedding"
        width = (config.embedding_dim or config.width) if embedded else vocabulary
        fans = [width, *[config.width] * (config.layers - 1)]
        self.embedding = Embedding(members, vocabulary, width) if embedded else None
        self.recurrent = nn.ModuleList(LSTMLayer(members, fan_in, config.width) for fan_in in fans)
        self.dropouts = nn.ModuleList(Dropout() for _ in fans)
        self.read_out = Linear(members, config.width, signature.outputs)
        self._lookup = Lookup(vocabulary, 1, by_position=False)

    def encode(self, inputs: Tensor) -> Tensor:
        """Tokens [E, B, L] by step: [E, L, B], or one-hot [E, L, B, V] if products are cheaper than gathers."""
        tokens = inputs.mT
        encoded = self._lookup.encode(tokens.flatten(1, 2)[..., None], self.read_out.weight.dtype)
        return encoded.unflatten(1, tokens.shape[1:]) if encoded.is_floating_point() else tokens.contiguous()

    def forward(self, encoded: Tensor, tap: Tap | None = None) -> Tensor:
        """Outputs [E, B, C]; a tap receives each layer's hidden state after the last token.

        For answers that are sequences, outputs [E, B, T, C] and hidden states [E, B, T, H] of the last T tokens.
        """
        last, read = len(self.recurrent), self.answers or 1
        table = None if self.embedding is None else self.embedding.weight
        hidden = self.recurrent[0](encoded, read if last == 1 else None, table)
        for number, layer in enumerate(self.recurrent[1:], start=2):
            _show(tap, number - 1, self._read(hidden))
            # Points come first, because a point's dropout mask must not depend on the number of other points.
            inputs = self.dropouts[number - 2](hidden.transpose(1, 2)).transpose(1, 2)
            hidden = layer(inputs, read if number == last else None)
        states = self._read(hidden)
        _show(tap, last, states)
        outputs = self.read_out(self.dropouts[-1](states))
        _show(tap, last + 1, outputs)
        return outputs

    def _read(self, hidden: Tensor) -> Tensor:
        """Of hidden states [E, K, B, H] the last [E, B, H], or for a sequence of answers the last T [E, B, T, H]."""
        return hidden[:, -1] if self.answers is None else hidden[:, -self.answers :].transpose(1, 2)

    def hidden(self) -> list[str]:
        """The recurrent weights, and the input weights of every layer that reads an embedding or another layer."""
        first = 1 if self.embedding is None else 0
        of_inputs = [f"recurrent.{number}.weight_ih" for number in range(first, len(self.recurrent))]
        return [f"recurrent.{number}.weight_hh" for number in range(len(self.recurrent))] + of_inputs

    def layers(self) -> dict[str, dict[str, nn.Parameter]]:
        """Both weights and both biases of each LSTM layer, weight and bias of the read-out."""
        embedding = {} if self.embedding is None else {"embedding": self.embedding}
        numbered = enumerate([*self.recurrent, self.read_out], start=1)
        named = embedding | {f"layer {number}": layer for number, layer in numbered}
        return {name: dict(module.named_parameters()) for name, module in named.items()}

    def reset(self, member: int, init: str, generator: torch.Generator) -> None:
        """Draw the embedding, then each layer in order."""
        for layer in [self.embedding, *self.recurrent, self.read_out]:
            if layer is not None:
                layer.reset(member, init, generator)


def _show(tap: Tap | None, number: int, values: Tensor) -> None:
    if tap is not None:
        tap(f"layer {number}", values, values, False)


GROUP = "model"
CHOICES = {"lstm": LSTM}
