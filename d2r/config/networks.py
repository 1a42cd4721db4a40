"""One configuration class per network type; the ``type`` key of a method file picks it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Size = Annotated[int, Field(gt=0)]


class NetworkBase(BaseModel):
    """Sizes common to no two networks; every ``*_dim`` is scaled by a scale's ``width``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str


class RoutedConfig(NetworkBase):
    """Dynamic depth routing: N modules in topological order, wired per task and state (``networks/routing.py``)."""

    type: Literal["routed"] = "routed"
    num_modules: Size = 16
    module_dim: Size = 128
    encoder_dim: Size = 400
    router_dim: Size = 256
    top_k: Size | None = 2
    """Sources per module; none: all of them (soft routing)."""
    router_input: Literal["product", "concat", "task", "state"] = "product"
    """What the router sees: task encoding times state encoding, both side by side, or only one of them."""
    residual: bool = True
    resrouting: Literal["off", "threshold", "target"] = "threshold"
    """Unsuitable source: full softmax at most 1/(c+1) (official code), or outside the current top K (paper's words)."""
    router: Literal["learned", "random"] = "learned"
    """``random``: uniform routes in training, one fixed uniform route per task in evaluation."""


class MlpConfig(NetworkBase):
    """A plain network on the observation and the one-hot task id."""

    type: Literal["mlp"] = "mlp"
    hidden_dim: Size = 400
    num_layers: Size = 3
    match_parameters_of: str | None = None
    """A method whose actor's and critic's parameter counts the hidden width is chosen to match."""


NetworkConfig = RoutedConfig | MlpConfig
