"""CARE (Sodhani et al., ICML 2021, arXiv 2102.06177): a mixture of state encoders attended by the task's context.

    z = context encoder(task)                    learned embedding, or a language embedding of the task's description
    a = softmax(attention(z))                    one weight for each encoder
    output = trunk([sum_k a_k encoder_k(s), z])

Configuration: k encoders of two linear layers (50, 50), context and attention networks with two hidden
layers of 50, trunk 3 x 400 (facebookresearch/mtrl,
``config/agent/components/metaworld_{encoder,multitask}.yaml``); k = 6 on MT10 and 10 on MT50
(metaworld-algorithms, ``config/nn.py``; mtrl's commands use 4).

Deviations:

1. The context is a learned task embedding unless ``embeddings_file`` is given; mtrl uses RoBERTa embeddings
   of hand-written descriptions. A given embedding stays fixed and goes through ReLU, a layer of twice the
   context's size, ReLU, a layer of its size, ReLU, as in mtrl.
2. Actor and critics have encoders of their own, trained by their own losses; mtrl ties the encoders and
   trains them and the context by the critic loss only. metaworld-algorithms does as here.
3. A critic's encoders see state and action, and each critic has its own; in mtrl they see the state, twin critics
   share them, and the action joins behind the mixture.
4. Attention is trained through the context; mtrl means to detach it there, but its configuration misspells
   the key.
5. Encoders have two linear layers (mtrl); those of metaworld-algorithms have three.
6. Initialisation as in the official D2R code; a learned embedding starts from N(0, 1), as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from d2r.config.networks import CareConfig
from d2r.networks.base import Network, Output, architecture
from d2r.networks.blocks import as_rows, mix, relu_after_each, relu_between
from d2r.networks.maker import Maker
from d2r.networks.parts import OfTasks
from d2r.networks.routing import DETERMINISTIC, RouteRule


@architecture(CareConfig)
class CareNetwork(Network):
    """E copies of a mixture of encoders, its context network and the trunk behind it."""

    def __init__(self, config: CareConfig, make: Maker):
        super().__init__(make)
        dim, trunk = config.context_dim, config.hidden_dim
        self.embedding: Tensor
        if config.task_embeddings is None:
            self.embedding = make.normal(make.num_tasks, dim)
            self.project = make.chain()
        else:
            given = torch.tensor(config.task_embeddings, dtype=torch.get_default_dtype())
            self.register_buffer("embedding", given.expand(make.ensemble, -1, -1).contiguous())
            self.project = make.chain(given.shape[-1], 2 * dim, dim)
        self.context_network = make.chain(dim, dim, dim, dim)
        self.attention_network = make.chain(dim, dim, dim, config.num_experts)
        self.encoders = make.groups(config.num_experts, make.inputs, dim, dim)
        self.trunk = make.chain(2 * dim, *[trunk] * config.num_layers)
        self.head = make.head(trunk)

    @property
    def by_task(self) -> Mapping[str, OfTasks]:
        """The embeddings, learned or given."""
        return {"embedding": OfTasks(1)}

    @property
    def routing_layers(self) -> Sequence[nn.Module]:
        """The network that weighs the encoders."""
        return (self.attention_network,)

    @property
    def output_layers(self) -> Sequence[nn.Module]:
        """The last layer."""
        return (self.head,)

    def forward(self, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Output:
        """Map [E or 1, batch, task, inputs] to [E, batch, task, outputs]; there is no route to choose."""
        context = self.context()
        encoded = relu_between(self.encoders, as_rows(x))
        shape = (self.ensemble, x.shape[1], self.num_tasks, -1)
        state = mix(self.attention(context).unsqueeze(-2), encoded).view(shape)
        h = torch.cat([state, context.expand(shape)], dim=-1)
        return Output(self.head(relu_after_each(self.trunk, h)))

    def context(self) -> Tensor:
        """The encoding of each task, [E, 1, task, context_dim]."""
        embedding = relu_after_each(self.project, self.embedding.unsqueeze(1).relu())
        return relu_between(self.context_network, embedding)

    def attention(self, context: Tensor) -> Tensor:
        """Weight of each encoder, [E, 1, task, k]; they sum to 1."""
        return relu_between(self.attention_network, context).softmax(-1)
