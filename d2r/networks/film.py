"""SAC + FiLM (Perez et al., AAAI 2018, arXiv 1709.07871, as a baseline in the CARE paper, arXiv 2102.06177).

    z = ReLU(task embedding)          (gamma_l - 1, beta_l) = mlp(z), two numbers for each encoder layer
    h_l = gamma_l ReLU(W_l h_(l-1) + b_l) + beta_l       (the last layer without ReLU)
    output = trunk([h, z])

Configuration: embedding 50, modulation network with two hidden layers of 50, encoder 50-50-50, trunk 3 x
400 (rainx0r/mtrl, ``mtrl/nn/film.py``; facebookresearch/mtrl modulates an encoder of the same sizes).

Deviations:

1. gamma and beta are one number a layer, as in both code bases; the FiLM paper has one for each feature.
2. ReLU comes before the modulation (rainx0r/mtrl), and the embedding itself is appended to the encoding.
3. Actor and critics have encoders of their own, and a critic's sees the action as well, which in
   facebookresearch/mtrl joins behind the encoder.
4. The embedding is learned, as in rainx0r/mtrl; the command of facebookresearch/mtrl uses RoBERTa's.
5. gamma is 1 plus the network's output, as in the FiLM authors' training scripts (``--gamma_baseline 1``); both
   code bases take the output itself, which with initial values of the official D2R code, used here, would
   begin by shrinking the signal at every layer. Embeddings start from N(0, 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from d2r.config.networks import FilmConfig
from d2r.networks.base import Network, Output, architecture
from d2r.networks.blocks import relu_after_each, relu_between
from d2r.networks.maker import Maker
from d2r.networks.parts import OfTasks
from d2r.networks.routing import DETERMINISTIC, RouteRule


@architecture(FilmConfig)
class FilmNetwork(Network):
    """E copies of a state encoder that the task scales and shifts, and the trunk behind it."""

    def __init__(self, config: FilmConfig, make: Maker):
        super().__init__(make)
        dim, width = config.context_dim, config.hidden_dim
        self.embedding = make.normal(make.num_tasks, dim)
        self.encoder = make.chain(make.inputs, dim, dim, dim)
        self.modulation = make.chain(dim, dim, dim, 2 * len(self.encoder))
        self.trunk = make.chain(2 * dim, *[width] * config.num_layers)
        self.head = make.head(width)

    @property
    def by_task(self) -> Mapping[str, OfTasks]:
        """The embeddings."""
        return {"embedding": OfTasks(1)}

    @property
    def output_layers(self) -> Sequence[nn.Module]:
        """The last layer."""
        return (self.head,)

    def forward(self, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Output:
        """Map [E or 1, batch, task, inputs] to [E, batch, task, outputs]; there is no route to choose."""
        embedding = self.embedding.unsqueeze(1).relu()
        scale_shift = self.scale_shift(embedding)
        h = x
        for index, layer in enumerate(self.encoder):
            h = layer(h, relu=index + 1 < len(self.encoder))
            h = (1 + scale_shift[..., index, :1]) * h + scale_shift[..., index, 1:]
        h = torch.cat([h, embedding.expand_as(h)], dim=-1)
        return Output(self.head(relu_after_each(self.trunk, h)))

    def scale_shift(self, embedding: Tensor) -> Tensor:
        """(gamma - 1, beta) of each encoder layer, [E, 1, task, layer, 2], for embeddings [E, 1, task, context_dim]."""
        modulation = relu_between(self.modulation, embedding)
        return modulation.view(*modulation.shape[:-1], len(self.encoder), 2)
