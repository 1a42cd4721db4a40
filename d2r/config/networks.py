"""One configuration class per network type; the ``type`` key of a method file picks it.

The network of ``type: x-y`` is in ``d2r/networks/x_y.py``, and so may its class be: that file is imported when the type
is first met. The classes here are for networks whose configuration is read without PyTorch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from inspect import get_annotations
from pkgutil import iter_modules
from typing import Annotated, Any, ClassVar, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_plain_validator_function

PACKAGE = "d2r.networks"

Size = Annotated[int, Field(gt=0, le=2**16)]
"""A width, or a number of anything that takes no memory."""
Count = Annotated[int, Field(gt=0, le=256)]
"""How many parts (layers, modules, experts) are built: each costs time at every step, so far fewer than widths."""
AtLeastTwo = Annotated[int, Field(ge=2, le=256)]


class NetworkBase(BaseModel):
    """What all networks' configurations have in common; every ``*_dim`` is scaled by a scale's ``width``.

    A class that states ``type: Literal["x-y"] = "x-y"`` is what method files mean by that type.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    module: ClassVar[str | None] = None
    """Module of ``d2r.networks`` that has the network, if it is not named like the type."""
    routed: ClassVar[bool] = False
    """Whether it is a network of routed modules: the time of its updates is told apart from that of plain ones."""

    type: str

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Enter a class that states its type among the types."""
        if "type" in get_annotations(cls):
            name = cls.model_fields["type"].default
            if _CLASSES.setdefault(name, cls) is not cls:
                raise TypeError(
                    f"network type '{name}' is {_CLASSES[name].__name__} already, and {cls.__name__}"
                )

    @property
    def route_shape(self) -> tuple[int, int] | None:
        """(groups, K) of the routes that the replay must keep; none without sampled routes."""
        return None


_CLASSES: dict[str, type[NetworkBase]] = {}


def network_class(name: str) -> type[NetworkBase] | None:
    """The configuration class of a network type, none if there is no such type."""
    if name not in _CLASSES and re.fullmatch("[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        module = f"{PACKAGE}.{name.replace('-', '_')}"
        if find_spec(module) is not None:
            import_module(module)
    return _CLASSES.get(name)


def network_classes(in_their_own_files: bool = True) -> dict[str, type[NetworkBase]]:
    """Every network type and its class; those in files of ``d2r/networks`` only at the price of importing all."""
    if in_their_own_files:
        for module in iter_modules(import_module(PACKAGE).__path__, f"{PACKAGE}."):
            import_module(module.name)
    return dict(_CLASSES)


def network_module(network: type[NetworkBase]) -> str:
    """Full name of the module that has the network of a configuration class."""
    name = network.module or network.model_fields["type"].default.replace("-", "_")
    return f"{PACKAGE}.{name}"


FILLED_IN = {
    "task_embeddings": "embeddings_file",
    "matched": "match_parameters_of",
    "matched_tasks": "match_parameters_of",
}
"""Keys of a network that only resolving a run sets, unchecked, and the key of a method's file that leads to each."""


def size_names(*networks: type[NetworkBase]) -> list[str]:
    """Names of the sizes of these types of network: what MT50 or a scale may change."""
    return sorted(
        {
            name
            for network in networks
            for name, hint in get_type_hints(network).items()
            if hint in (int, int | None) and name not in FILLED_IN
        }
    )


class _ByType:
    """Makes a field take any network, by its ``type``."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_plain_validator_function(_of_its_type)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "object", "required": ["type"]}


def _of_its_type(given: object) -> NetworkBase:
    if isinstance(given, NetworkBase):
        return given
    if not isinstance(given, Mapping):
        raise PydanticCustomError("dict_type", "Input should be a mapping")
    if "type" not in given:
        raise PydanticCustomError("network_type_missing", "Type is missing")
    name = given["type"]
    network = network_class(name) if isinstance(name, str) else None
    if network is None:
        raise PydanticCustomError("network_type_unknown", "Unknown type", {"name": str(name)})
    return network.model_validate(given)


NetworkConfig = Annotated[NetworkBase, _ByType()]
"""The configuration of a network of any type."""


class RoutedConfig(NetworkBase):
    """Dynamic depth routing: N modules in topological order, wired per task and state (``networks/d2r/``)."""

    module: ClassVar[str | None] = "d2r.levels"
    routed: ClassVar[bool] = True

    type: Literal["routed"] = "routed"
    num_modules: Count = 16
    module_dim: Size = 128
    encoder_dim: Size = 400
    router_dim: Size = 256
    top_k: Count | None = 2
    """Sources per module; none: all of them (soft routing)."""
    router_input: Literal["product", "relu-product", "concat", "task", "state"] = "product"
    """What the router sees: task encoding times state encoding (also after a ReLU, as Soft Modularization has it),
    both side by side, or only one of them."""
    initialisation: Literal["fan-out", "fan-in"] = "fan-out"
    """Bound of hidden weights: one over the root of the number of outputs (official code), or of inputs."""
    renormalise: bool = True
    """Weights of the chosen sources: a softmax over them alone, or their shares of the softmax over all candidates."""
    residual: bool = True
    resrouting: Literal["off", "threshold", "target"] = "threshold"
    """Unsuitable source: full softmax at most 1/(c+1) (official code), or outside the current top K (paper's words)."""
    router: Literal["learned", "random", "none"] = "learned"
    """``random``: uniform routes in training, one fixed uniform route per task in evaluation.
    ``none``: all modules in sequence, and the task enters through the input of the first."""
    initial_modules: Count | None = None
    """Modules at the start; others are added, up to ``num_modules``, by ``growth``. None: all from the start."""
    growth_patience: Size = 5
    """Evaluations after which a module is added, counted as ``growth`` says."""
    growth: Literal["plateau", "schedule"] = "plateau"
    """``plateau``: counted are evaluations without a rise of mean success. ``schedule``: all are."""

    @model_validator(mode="after")
    def _enough_to_choose_from(self) -> RoutedConfig:
        if self.router != "none":  # which takes no sources, so that a control may have one module only
            _check_top_k(self.top_k, self.num_modules)
        return self

    @property
    def route_shape(self) -> tuple[int, int] | None:
        """(N, K), or none where there is one route only: soft routing, which takes every candidate, and fixed depth."""
        if self.top_k is None or self.router == "none":
            return None
        return self.num_modules, self.top_k

    @model_validator(mode="after")
    def _can_grow(self) -> RoutedConfig:
        if (
            self.initial_modules is not None
            and not max(2, self.top_k or 2) <= self.initial_modules <= self.num_modules
        ):
            raise ValueError(
                f"initial_modules ({self.initial_modules}) must be from 2 and top_k to num_modules ({self.num_modules})"
            )
        return self


class RoutedLevelConfig(NetworkBase):
    """What routing at layer and at model level have in common with dynamic depth routing."""

    module: ClassVar[str | None] = "d2r.levels"
    routed: ClassVar[bool] = True
    router: ClassVar[Literal["learned", "random", "none"]] = "learned"
    router_input: ClassVar[Literal["product", "relu-product", "concat", "task", "state"]] = "product"
    renormalise: ClassVar[bool] = True
    """As in D2R; these are switches of ``type: routed`` only."""

    num_modules: Count = 16
    module_dim: Size = 128
    encoder_dim: Size = 400
    router_dim: Size = 256
    top_k: Count | None = 2
    """Sources of each choice; none: all of them (soft routing)."""
    residual: bool = True
    resrouting: Literal["off", "threshold", "target"] = "threshold"

    @property
    def route_shape(self) -> tuple[int, int] | None:
        """(N, K), or none for soft routing."""
        return None if self.top_k is None else (self.num_modules, self.top_k)

    @model_validator(mode="after")
    def _enough_to_choose_from(self) -> RoutedLevelConfig:
        _check_top_k(self.top_k, self.num_modules)
        return self


def _check_top_k(top_k: int | None, num_modules: int) -> None:
    """A group may have fewer candidates than ``top_k``, as the first ones always do; not every one of them."""
    if top_k is not None and top_k > num_modules:
        raise ValueError(f"top_k ({top_k}) must not exceed num_modules ({num_modules})")


class RoutedLayerConfig(RoutedLevelConfig):
    """Routing at layer level: modules read modules of the layer before, and no layer can be skipped."""

    type: Literal["routed-layer"] = "routed-layer"
    num_layers: AtLeastTwo = 4

    @model_validator(mode="after")
    def _equal_layers(self) -> RoutedLayerConfig:
        if self.num_modules % self.num_layers:
            raise ValueError(
                f"num_modules ({self.num_modules}) must be a multiple of num_layers ({self.num_layers})"
            )
        return self


class RoutedModelConfig(RoutedLevelConfig):
    """Routing at model level: whole chains of modules, of which the output reads some."""

    type: Literal["routed-model"] = "routed-model"
    num_models: Count = 4

    @model_validator(mode="after")
    def _equal_models(self) -> RoutedModelConfig:
        if self.num_modules % self.num_models:
            raise ValueError(
                f"num_modules ({self.num_modules}) must be a multiple of num_models ({self.num_models})"
            )
        return self


class MatchableConfig(NetworkBase):
    """A plain network whose hidden widths may be chosen so that it has as many parameters as another method's."""

    hidden_dim: Size = 400
    inner_dim: Size | None = None
    """Width of the hidden layers between the first and the last; none: as wide as those."""
    num_layers: Count = 3
    match_parameters_of: str | None = None
    """A method whose actor's and critic's parameter counts are matched, each by hidden widths of its own."""
    matched: NetworkConfig | None = None
    """That method's network, filled in when a run is resolved; then the widths above are not used."""
    matched_tasks: Count | None = None
    """Number of tasks at which counts are matched, filled in where a run starts from one of other tasks."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of each hidden layer."""
        inner = (self.inner_dim or self.hidden_dim,) * (self.num_layers - 2)
        return (self.hidden_dim, *inner, self.hidden_dim)[: self.num_layers]


class MlpConfig(MatchableConfig):
    """A plain network on the observation and the one-hot task id."""

    type: Literal["mlp"] = "mlp"


class MultiHeadConfig(MatchableConfig):
    """A plain trunk with one output head for each task."""

    type: Literal["multihead"] = "multihead"
    task_input: bool = False
    """Whether the trunk sees the one-hot task id as well."""


class IndependentConfig(NetworkBase):
    """One plain network for each task."""

    type: Literal["independent"] = "independent"
    hidden_dim: Size = 400
    num_layers: Count = 3


class SoftModularizationConfig(NetworkBase):
    """Layers of modules mixed by a soft routing network."""

    type: Literal["soft-modularization"] = "soft-modularization"
    num_layers: AtLeastTwo = 4
    modules_per_layer: Count = 4
    module_dim: Size = 128
    encoder_dim: Size = 400
    gating_dim: Size = 256


class CareConfig(NetworkBase):
    """A mixture of state encoders attended by the task's context."""

    type: Literal["care"] = "care"
    num_experts: Count = 6
    context_dim: Size = 50
    """Width of the embeddings, of the encoders and of the context and attention networks."""
    hidden_dim: Size = 400
    num_layers: Count = 3
    embeddings_file: str | None = None
    """JSON file, relative to the project's root, of task name -> language embedding; none: embeddings are learned."""
    task_embeddings: (
        Annotated[tuple[Annotated[tuple[float, ...], Field(strict=False)], ...], Field(strict=False)] | None
    ) = None
    """The content of that file in task order, filled in when a run is resolved."""

    @model_validator(mode="after")
    def _file_has_a_name(self) -> CareConfig:
        if self.embeddings_file is not None and not self.embeddings_file.strip():
            raise ValueError("embeddings_file is empty; name a JSON file, or null for learned embeddings")
        return self


class PacoConfig(NetworkBase):
    """Networks that are combinations of K shared parameter sets."""

    type: Literal["paco"] = "paco"
    num_sets: Count = 5
    hidden_dim: Size = 400
    num_layers: Count = 3
    reset_masked: bool = True
    """Whether a task whose loss is over the threshold gets a random mixture of the other tasks' combination weights."""


class MooreConfig(NetworkBase):
    """A mixture of orthonormal experts."""

    type: Literal["moore"] = "moore"
    num_experts: Count = 4
    hidden_dim: Size = 400
    num_layers: Count = 3

    @model_validator(mode="after")
    def _room_for_experts(self) -> MooreConfig:
        if self.num_experts > self.hidden_dim:
            raise ValueError(
                f"num_experts ({self.num_experts}) must not exceed hidden_dim ({self.hidden_dim}): "
                "so many vectors cannot be orthogonal"
            )
        return self


class MmoeConfig(NetworkBase):
    """A mixture of experts with one gate for each task."""

    type: Literal["mmoe"] = "mmoe"
    num_experts: Count = 4
    hidden_dim: Size = 400
    num_layers: Count = 3


class FilmConfig(NetworkBase):
    """A state encoder that the task scales and shifts."""

    type: Literal["film"] = "film"
    context_dim: Size = 50
    hidden_dim: Size = 400
    num_layers: Count = 3
