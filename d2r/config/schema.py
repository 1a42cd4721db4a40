"""Typed, frozen configuration: what may be chosen, with the official value as default.

Every class refuses unknown keys. Defaults are those of the official implementation (DarkDawn233/D2R_MTRL,
commit 48d3ed5) at its MT10 setting; a method, a protocol or a scale states only what it changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from d2r.config.benchmarks import Benchmark, BenchmarkId, Goals, Tasks, meant_by_name, unknown_benchmark
from d2r.config.files import NAME
from d2r.config.networks import NetworkConfig, Size

LATE_EVALUATIONS = 8
"""The last so many evaluations of a run, whose mean is the primary measure (docs/registered.md)."""
OBSERVED_EVERY = 10
"""Of the states of an evaluation, the instruments look at every tenth."""

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
Episodes = Annotated[int, Field(gt=0, le=10_000)]
PositiveFloat = Annotated[float, Field(gt=0)]

MAX_SEED = 999_999_999
MOST_BATCH = 1_000_000
"""Transitions of each task in a batch: more than any memory holds the activations of."""
SEED = "(?:0|[1-9][0-9]{0,8})"
"""How a seed from 0 to ``MAX_SEED`` is written, on the command line and in the names of folders: in one way each."""
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


class Descriptive:
    """Marks a key that tells readers about a run and is no part of what the run is."""


Words = Annotated[str, Descriptive()]
Color = Annotated[str, Field(pattern="^#[0-9a-f]{6}$"), Descriptive()]
"""Of a method wherever it is drawn: ``#rrggbb``, in small letters."""


class Frozen(BaseModel):
    """Base of all configuration: immutable; an unknown key or a number that is not finite is an error.

    Strict: ``true``, ``"1"`` and ``1`` are three things. Lists alone may stand for tuples, where a field says so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class Protocol(Frozen):
    """Every choice that makes numbers incomparable between papers."""

    id: str
    description: Words
    horizon: Annotated[int, Field(strict=True, gt=0, le=500)]
    reward_scale: PositiveFloat
    reward_version: Literal["v1", "v2"] = "v2"
    rand_goals: Literal["continuous", "seeded-50"]
    """``rand`` benchmarks: a new draw from the reset space at each reset, or one of 50 goals drawn once."""
    time_limit: Literal["terminal", "bootstrap"]
    """What the last step of an episode is in the TD target (docs/protocols.md, P1: the official code has terminal)."""
    evaluation_episodes: Episodes
    """Episodes per task on a ``rand`` benchmark; a ``fixed`` benchmark needs one, its episodes are all alike."""
    policy_lag: Annotated[int, Field(ge=0, le=1)] = 0
    """Updates by which the acting policy trails the learner; 0 alternates acting and learning."""

    def goals_on(self, benchmark: Benchmark) -> Literal["fixed", "continuous", "seeded-50"]:
        """Where the goals of a benchmark come from."""
        return "fixed" if benchmark.goals == "fixed" else self.rand_goals


class SacConfig(Frozen):
    """Multi-task Soft Actor-Critic and the two mechanisms of D2R that live in its losses."""

    discount: Annotated[float, Field(ge=0, lt=1)] = 0.99
    target_tau: Annotated[float, Field(gt=0, le=1)] = 0.005
    lr_actor: PositiveFloat = 3e-4
    lr_critic: PositiveFloat = 3e-4
    lr_alpha: PositiveFloat = 1e-4
    grad_clip: PositiveFloat = 1.0
    """Global-norm bound, applied separately to the actor, each critic and the vector of log-alphas."""
    target_entropy: float = -4.0
    max_log_alpha: float | None = 0.0
    task_loss_threshold: PositiveFloat | None = 3000.0
    """A task whose summed loss exceeds this contributes nothing to that update."""
    task_weights: Literal["softmax", "softmax-alpha", "uniform"] = "softmax"
    """Weight of a task's actor and critic losses: n * softmax(-log alpha), n * softmax(-alpha) or 1."""
    batch_per_task: Annotated[int, Field(gt=0, le=MOST_BATCH)] = 128
    policy_route: Literal["stored", "current"] = "stored"
    """Route of the actor in the policy loss: the behaviour route from the replay, or drawn anew."""
    critic_route: Literal["sampled", "deterministic"] = "sampled"
    """Route of the critics in the TD loss."""
    route_balancing: bool = True
    """Route sampling temperature follows each task's alpha (tau_T = n * softmax(-log alpha)); off: 1 for all."""
    gradient_surgery: Literal["none", "pcgrad"] = "none"
    clip_per: Literal["network", "task"] = "network"
    """``task``: the norm of each task's own parameters is clipped (independent agents trained side by side)."""

    @model_validator(mode="after")
    def _independent_agents_weigh_alike(self) -> SacConfig:
        if self.clip_per == "task" and self.task_weights != "uniform":
            raise ValueError(
                f"clip_per: task keeps tasks apart, but task_weights: {self.task_weights} makes each one's losses "
                "depend on all; set task_weights: uniform"
            )
        return self


class Budget(Frozen):
    """How much is run. A step is one step of every task's environment (a vector step)."""

    steps: Positive = 1_500_000
    warmup_steps: NonNegative = 4_000
    """Steps before the first update, acted by the untrained policy."""
    warmup_actions: Literal["policy", "uniform"] = "policy"
    """Actions of the warm-up: sampled from the untrained policy, or uniformly from the action space."""
    update_every: Positive = 1
    replay_capacity: Positive = 100_000
    """Transitions per task."""
    evaluate_every: Positive = 10_000
    evaluate_after: Annotated[tuple[NonNegative, ...], Field(min_length=1, strict=False)] | None = None
    """Episodes of each task after which there is an evaluation, in place of ``evaluate_every``; 0: before the first."""
    evaluation_episodes: Episodes | None = None
    """Overrides the protocol's number; tables `main` and `runs` and the page state what a run had."""
    late_evaluation_episodes: Episodes | None = None
    """Another number for the last evaluations (``LATE_EVALUATIONS``); none: as many as in those before."""
    checkpoint_every: Positive = 10_000

    @model_validator(mode="after")
    def _warmup_fits(self) -> Budget:
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps ({self.warmup_steps}) must be less than steps ({self.steps})")
        return self

    @model_validator(mode="after")
    def _evaluations_in_order(self) -> Budget:
        after = self.evaluate_after or ()
        if list(after) != sorted(set(after)):
            raise ValueError("evaluate_after must name numbers of episodes in ascending order, each once")
        return self


Adapt = Literal["all", "router", "new-task"]
"""What of a learner that was trained before learns on: everything; the routing network and what is of single new tasks;
or the latter and the output layer."""


class Source(Frozen):
    """A run that another one of the same seed begins with."""

    scale: Annotated[str, Field(pattern=f"^{NAME}$")]
    benchmark: BenchmarkId
    method: Annotated[str, Field(pattern=f"^{NAME}$")]
    """A file of ``config/methods``."""

    @property
    def word(self) -> str:
        """All three as one word, as it stands in a method's id."""
        return f"{self.scale}.{self.benchmark}.{self.method}"


class ResolvedSource(Source):
    """The same, with what a run that begins with it rests on."""

    tasks: Tasks = Field(min_length=1)
    """That it was trained on."""
    identity: str
    """sha256 of its configuration without the seed, so that with another source it is another run."""


def _said_together(start_from: Source | None, adapt: Adapt | None) -> None:
    if (start_from is None) != (adapt is None):
        missing = "start_from" if start_from is None else "adapt"
        raise ValueError(f"'start_from' and 'adapt' go together, and '{missing}' is missing")


class Method(Frozen):
    """A D2R variant or a baseline: its network and the switches it changes."""

    id: str
    title: Words
    kind: Literal["variant", "baseline"]
    color: Color | None = None
    """The same at every scale; without one it follows from the id (``d2r.report.colors``)."""
    source: Words
    """Paper and code that define it."""
    summary: Words
    network: NetworkConfig
    mt50: dict[str, Size] = {}
    """Network sizes that the source changes on MT50; sets of tasks nearer to its size than to MT10's take them, too."""
    sac: SacConfig = SacConfig()
    start_from: Source | None = None
    """A finished run whose learner its runs begin with; none: they begin with fresh networks."""
    adapt: Adapt | None = None
    """What of that learner learns on."""
    deviations: Annotated[tuple[str, ...], Descriptive()] = Field((), strict=False)

    @model_validator(mode="after")
    def _says_what_adapts(self) -> Method:
        _said_together(self.start_from, self.adapt)
        return self


def _not_nested(values: Any) -> Any:
    given = values.items() if isinstance(values, dict) else ()
    nested = [(key, next(iter(value), "KEY")) for key, value in given if isinstance(value, dict)]
    if nested:
        raise ValueError("'{0}' must be a value; write '{0}.{1}: ...' for a key in it".format(*nested[0]))
    return values


class Variant(Frozen):
    """A method with other values, or one that starts from another run."""

    of: str
    """The method."""
    set: (
        Annotated[
            dict[str, bool | int | float | str | None], Field(min_length=1), BeforeValidator(_not_nested)
        ]
        | None
    ) = None
    """By key, such as ``sac.batch_per_task``."""
    start_from: Source | None = None
    adapt: Adapt | None = None
    """As a method's."""

    @model_validator(mode="after")
    def _differs(self) -> Variant:
        _said_together(self.start_from, self.adapt)
        if self.set is None and self.start_from is None:
            raise ValueError("must have 'set' or 'start_from'")
        return self

    @property
    def values(self) -> dict[str, bool | int | float | str | None]:
        """Everything that it changes, by key."""
        values = dict(self.set or {})
        return (
            values
            if self.start_from is None
            else values | {"start_from": self.start_from.word, "adapt": self.adapt}
        )


class RunGroup(Frozen):
    """A block of the experiment: each benchmark with each method."""

    benchmarks: tuple[BenchmarkId, ...] = Field(min_length=1, strict=False)
    methods: Annotated[
        Annotated[Literal["all"], Tag("word")]
        | Annotated[tuple[str, ...], Field(min_length=1, strict=False), Tag("list")],
        Discriminator(lambda methods: "word" if isinstance(methods, str) else "list"),
    ]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, strict=False)] | None = None
    """Overrides the scale's seeds for this block."""


class Scale(Frozen):
    """How much is run: which benchmarks, methods and seeds, at which size and budget."""

    id: str
    description: Words
    protocol: str
    seeds: tuple[Seed, ...] = Field(min_length=1, strict=False)
    variants: dict[str, Variant] = {}
    """By the name that ``runs`` gives each; ``methods: all`` includes them. Their ids say what is changed."""
    runs: tuple[RunGroup, ...] = Field(min_length=1, strict=False)
    width: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on every ``*_dim`` of every network, rounded to a multiple of 8: the same shrinkage for all methods."""
    network: dict[str, Size] = {}
    """Other network sizes (such as ``num_modules``) for the methods that do not set them themselves."""
    sac: dict[str, float | int] = {}
    """Rates and batch size, the same for every method; a method's own value wins."""
    budget: dict[str, Budget] = Field(min_length=1)
    """By set of tasks, without the kind of goals; for a set without one, that of the nearest size holds."""

    @model_validator(mode="after")
    def _seeds_once(self) -> Scale:
        for seeds in (self.seeds, *(group.seeds for group in self.runs if group.seeds is not None)):
            repeated = sorted({seed for seed in seeds if seeds.count(seed) > 1})
            if repeated:
                raise ValueError(f"seeds: {repeated[0]} is given twice")
        for group in self.runs:
            for name in group.methods if group.methods != "all" else ():
                if group.methods.count(name) > 1:
                    raise ValueError(f"runs: method '{name}' is given twice")
        return self


def _tasks_meant(stated: dict[str, Any]) -> tuple[str, ...]:
    benchmark = meant_by_name(stated.get("benchmark", ""))
    return () if benchmark is None else benchmark.tasks


def _goals_meant(stated: dict[str, Any]) -> Goals:
    benchmark = meant_by_name(stated.get("benchmark", ""))
    return "rand" if benchmark is None else benchmark.goals


class RunConfig(Frozen):
    """One run, fully resolved: the only configuration that training reads."""

    scale: str
    benchmark: BenchmarkId
    method: str
    seed: Seed
    tasks: Tasks = Field(default_factory=_tasks_meant, min_length=1)
    """Those of the benchmark; what is not stated is what the id meant before benchmarks were files."""
    goals: Goals = Field(default_factory=_goals_meant)
    protocol: Protocol
    network: NetworkConfig
    sac: SacConfig
    budget: Budget
    start_from: ResolvedSource | None = None
    """The run whose learner it begins with."""
    adapt: Adapt | None = None

    @model_validator(mode="after")
    def _evaluations_fit(self) -> RunConfig:
        _said_together(self.start_from, self.adapt)
        after = self.budget.evaluate_after
        if after is not None and after[-1] * self.protocol.horizon > self.budget.steps:
            raise ValueError(
                f"budget.evaluate_after: {after[-1]} episodes of {self.protocol.horizon} steps are more than "
                f"steps ({self.budget.steps})"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _is_known(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or {"tasks", "goals"} <= given.keys():
            return given
        name = given.get("benchmark")
        if isinstance(name, str) and meant_by_name(name) is None:
            raise ValueError(str(unknown_benchmark(name)))
        return given

    @property
    def trained_on(self) -> Benchmark:
        """The benchmark as this run has it, whatever files say now."""
        return Benchmark(id=self.benchmark, tasks=self.tasks, goals=self.goals)

    @property
    def suite(self) -> str:
        """The set of tasks, without the goal distribution."""
        return self.trained_on.suite

    @property
    def num_tasks(self) -> int:
        """Number of tasks trained together."""
        return len(self.tasks)

    @property
    def evaluation_episodes(self) -> int:
        """Episodes per task of the final evaluation, which is published."""
        return self.evaluation_episodes_at(self.budget.steps)

    def evaluation_episodes_at(self, step: int) -> int:
        """Episodes per task of the evaluation at ``step``; on ``fixed`` one: a deterministic policy repeats itself."""
        if self.goals == "fixed":
            return 1
        budget = self.budget
        usual = budget.evaluation_episodes or self.protocol.evaluation_episodes
        late = self.evaluations_from(step) <= LATE_EVALUATIONS
        return budget.late_evaluation_episodes or usual if late else usual

    @property
    def _evaluated_after(self) -> tuple[int, ...] | None:
        """Steps at which the policy is evaluated, ascending, where the budget names numbers of episodes."""
        budget = self.budget
        if budget.evaluate_after is None:
            return None
        at = tuple(episodes * self.protocol.horizon for episodes in budget.evaluate_after)
        return at if at[-1] >= budget.steps else (*at, budget.steps)

    def is_evaluated_at(self, step: int) -> bool:
        """Whether the policy is evaluated at a step; it is after the last one in any case."""
        if self._evaluated_after is not None:
            return step in self._evaluated_after
        return step == self.budget.steps or (step > 0 and step % self.budget.evaluate_every == 0)

    def evaluations_from(self, step: int) -> int:
        """Number of evaluations at a step and after it."""
        if self._evaluated_after is not None:
            return sum(at >= step for at in self._evaluated_after)
        before, all_of_them = (
            -(-at // self.budget.evaluate_every) for at in (max(step, 1), self.budget.steps)
        )
        return all_of_them - before + 1

    @property
    def evaluation_steps(self) -> Iterator[int]:
        """Steps at which the policy is evaluated, ascending."""
        if self._evaluated_after is not None:
            yield from self._evaluated_after
            return
        every, steps = self.budget.evaluate_every, self.budget.steps
        for step in range(every, steps + every, every):
            yield min(step, steps)
