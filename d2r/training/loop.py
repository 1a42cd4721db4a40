"""One run: act, store, update, evaluate, checkpoint; then publish. Every step can be the last before a crash."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch

from d2r.algorithms.policy import sample_action
from d2r.algorithms.replay import Replay
from d2r.algorithms.sac import Diverged, MultiTaskSAC
from d2r.config import RunConfig, config_hash, project_root, stated
from d2r.config.execution import PLAIN, Execution
from d2r.envs.vector import MetaWorldVectorEnv
from d2r.errors import Unfit, UserError
from d2r.evaluation.success import Evaluation, evaluate
from d2r.files import read_bytes
from d2r.kernel.library import implementation
from d2r.networks.registry import build_actor, build_critics, count_parameters
from d2r.runs.folders import RunFolders
from d2r.runs.record import SCHEMA
from d2r.runs.tidy import COLUMNS, Row, TidyFile, csv_bytes
from d2r.text import printable
from d2r.training import provenance
from d2r.training.checkpoint import CheckpointStore
from d2r.training.instruments import Instruments
from d2r.training.progress import Reporter
from d2r.training.seeding import Stream, seed_sequence, torch_generator
from d2r.training.signals import StopRequest
from d2r.training.source import source_state
from d2r.training.state import check_state
from d2r.training.timing import PARTS, Stopwatch

TIDY = ("metrics.csv", "routes.csv", "timing.csv")


@dataclass(frozen=True)
class Machine:
    """Where and how a run runs; all but ``workers`` may change last bits, ``execution`` also precision.

    None of it is part of the run's configuration. A run that is resumed on another device or with other threads
    or workers goes on with them, and its record names those of the process that ended it, and as ``earlier`` those
    of the ones before; ``execution`` must be the checkpoint's.
    """

    workers: int = 0
    threads: int = 1
    device: str = "cpu"
    execution: Execution = PLAIN


class NumbersWentWrong(Exception):
    """A run's numbers stopped being numbers; ``failure`` says where."""

    def __init__(self, failure: dict[str, Any]):
        super().__init__(failure["message"])
        self.failure = failure


def name_of(config: RunConfig) -> str:
    """The run's name in what is said about it."""
    return f"{config.scale}/{config.benchmark}/{config.method}/seed{config.seed}"


class Run:
    """The state of one run, and what moves it."""

    def __init__(self, config: RunConfig, folders: RunFolders, machine: Machine, stop: StopRequest):
        self.config, self.folders, self.machine, self.stop = config, folders, machine, stop
        device = torch.device(machine.device)
        initial = torch_generator(config.seed, Stream.INITIALISATION)
        actor = build_actor(config.network, config.num_tasks, initial)
        critics = build_critics(config.network, config.num_tasks, initial)
        self.learner = MultiTaskSAC(actor.to(device), critics.to(device), config.sac, machine.execution)
        protocol = config.protocol
        self.replay = Replay(
            config.budget.replay_capacity,
            protocol.horizon,
            config.num_tasks,
            protocol.time_limit == "terminal",
            actor.route_shape,
            device,
        )
        self.acting = torch_generator(config.seed, Stream.ACTING)
        self.learning = torch_generator(config.seed, Stream.LEARNING)
        environment = seed_sequence(config.seed, Stream.ENVIRONMENT)
        self.env = MetaWorldVectorEnv(config.benchmark, protocol, environment, workers=machine.workers)
        self.evaluation_env = MetaWorldVectorEnv(
            config.benchmark, protocol, environment, evaluation=True, workers=machine.workers
        )
        self.instruments = Instruments(config, self.learner)
        self.tidy = {name: TidyFile(folders.checkpoints, name) for name in TIDY}
        self.store = CheckpointStore(folders.checkpoints)
        self.stopwatch = Stopwatch()
        self.step = self.updates = self.resumes = 0
        self.evaluated, self.checkpointed = 0, -1
        self.started = provenance.now()
        self.process = self._describe_process()
        self.earlier: list[dict[str, Any]] = []
        self.success: float | None = None
        self.final: Evaluation | None = None
        self.observations = self._begin()
        self.reporter = Reporter(name_of(config), config.budget.steps, folders.state, self.started, self.step)

    def _describe_process(self) -> dict[str, Any]:
        """Source, packages and machine of this process, as the record states them."""
        return {
            "packages": provenance.package_versions(),
            **source_state(project_root()),
            "cpu": provenance.cpu(),
            "kernel": implementation(self.machine.device),
            "gpu": provenance.gpu(self.machine.device),
            "threads": self.machine.threads,
            "workers": self.machine.workers,
            "device": self.machine.device,
        }

    def close(self) -> None:
        """Give back the environments' processes."""
        self.env.close()
        self.evaluation_env.close()

    def _begin(self) -> npt.NDArray[np.float64]:
        """Load the newest whole checkpoint that fits, or start; returns the current observations [task, 39].

        Raises:
            UserError: there are whole checkpoints, but none fits.
        """
        older_than: int | None = None
        while True:
            state, notes = self.store.load(self.replay, older_than)
            for note in notes:
                self._warn(note)
            if state is None:
                break
            try:
                return self._restore(state)
            except Unfit as why:
                older_than = self.store.newest
                self._warn(
                    f"checkpoint {older_than:012d} does not fit this version and was passed over: {why}"
                )
        if older_than is not None:
            raise UserError(
                f"{self.folders.checkpoints}: its checkpoint does not fit this version of the program; "
                "remove the folder to start again"
            )
        if notes:
            self._warn("no checkpoint is whole; starting again")
        for file in self.tidy.values():
            file.start()
        self.replay.total = 0
        observations = self.env.reset_arrays()
        self.replay.begin_episode(torch.from_numpy(observations))
        return observations

    def _warn(self, message: str) -> None:
        print(f"{name_of(self.config)}: {printable(message)}", file=sys.stderr, flush=True)

    def _restore(self, state: dict[str, Any]) -> npt.NDArray[np.float64]:
        """Go on from a state; returns the current observations [task, 39].

        Raises:
            Unfit: it is one of another run or version.
            UserError: it is this run's, and cannot be gone on from.
        """
        check_state(state, self.learner, self.instruments, set(self.tidy), self.config.budget.steps)
        self._check_execution(state.get("execution"))
        self.learner.load_state_dict(state["learner"])
        self.acting.set_state(state["acting"])
        self.learning.set_state(state["learning"])
        self.instruments.load_state_dict(state["instruments"])
        for name, file in self.tidy.items():
            if not file.load_state_dict(state["tidy"][name]):
                self._warn(f"{name} was damaged and restored from the checkpoint")
        self.step, self.updates, self.evaluated = state["step"], state["updates"], state["evaluated"]
        self.checkpointed = self.step
        self.success, self.started = state["success"], state["started"]
        self.resumes = state["resumes"] + 1
        # older checkpoints do not say where they come from
        self.earlier = [*state.get("earlier", []), {"until_step": self.step, **state.get("process", {})}]
        environment = json.loads(state["environment"])
        environment["actions"] = state["environment_actions"].numpy()
        environment["simulator_exceptions"] = np.array(environment["simulator_exceptions"])
        observations = self.env.load_state_dict(environment)[:, : self.replay.obs.shape[-1]]
        if self.step < self.config.budget.steps and self.step % self.config.protocol.horizon == 0:
            self.replay.begin_episode(torch.from_numpy(observations))
        # times count from the start of a process: a row of zeros says that a new one begins
        self.tidy["timing.csv"].append([(self.step, part, 0.0) for part in (*PARTS, "total")])
        print(f"{name_of(self.config)}: resumed at step {self.step}", flush=True)
        return observations

    def _check_execution(self, options: dict[str, Any] | None) -> None:
        """Refuse to go on by other arithmetic; older checkpoints do not say theirs."""
        if options is None or options == asdict(self.machine.execution):
            return
        raise UserError(
            f"{self.folders.checkpoints}: its checkpoint was made with {Execution(**options).options()}; resume it "
            "so, or choose another --results"
        )

    def checkpoint(self, last: bool = False) -> None:
        """Write everything that the rest of the run depends on; after the last step that is no longer the replay."""
        if self.step > self.evaluated:
            self._record_times()
        environment = dict(self.env.state_dict())
        actions = torch.from_numpy(np.asarray(environment.pop("actions")))
        environment["simulator_exceptions"] = np.asarray(environment["simulator_exceptions"]).tolist()
        state = {
            "learner": self.learner.state_dict(),
            "acting": self.acting.get_state(),
            "learning": self.learning.get_state(),
            "instruments": self.instruments.state_dict(),
            "tidy": {name: file.state_dict() for name, file in self.tidy.items()},
            "step": self.step,
            "updates": self.updates,
            "evaluated": self.evaluated,
            "success": self.success,
            "started": self.started,
            "resumes": self.resumes,
            "process": self.process,
            "earlier": self.earlier,
            "environment": json.dumps(environment),
            "environment_actions": actions,
            "execution": asdict(self.machine.execution),
        }
        with self.stopwatch("checkpoint"):
            for note in self.store.save(self.step, state, None if last else self.replay):
                self._warn(note)
        self.checkpointed = self.step

    def to_the_end(self) -> int:
        """Run until the budget is spent, a signal comes, or numbers go wrong."""
        budget = self.config.budget
        while True:
            due = self.step % budget.evaluate_every == 0 or self.step == budget.steps
            if self.step > self.evaluated and due and not self.stop:
                self.evaluate()
            if self.step > self.checkpointed and (self.stop or self.step % budget.checkpoint_every == 0):
                self.checkpoint()
            if self.stop:
                self.reporter.say(
                    f"stopped by signal {self.stop.signal} at step {self.step}, checkpoint written"
                )
                return self.stop.exit_status
            if self.step == budget.steps:
                break
            self.take_step()
            self.reporter.update(self.step, self.updates, self.success)
        if self.final is None:
            self.final = self._evaluation()
            if self.final is None:
                return self.stop.exit_status
        self.publish(self.final, None)
        return 0

    def take_step(self) -> None:
        """One step of every task, and the update that is due."""
        with self.stopwatch("acting"):
            action, sources = self.act()
        if not bool(action.isfinite().all()):  # the simulator would begin anew, and hide it
            raise self._wrong("action", int((~action.isfinite()).any(1).nonzero()[0]))
        with self.stopwatch("environment"):
            self.env.begin_step(action.numpy())
        if self.lags and self._update_due():
            self.update()
        with self.stopwatch("environment"):
            result = self.env.end_step()
        reached = result.final_observations if result.final_observations is not None else result.observations
        if not (np.isfinite(reached).all() and np.isfinite(result.rewards).all()):
            task = int(np.flatnonzero(~np.isfinite(reached).all(1) | ~np.isfinite(result.rewards))[0])
            raise self._wrong("observation or reward", task)
        with self.stopwatch("replay"):
            self.replay.add(action, torch.from_numpy(result.rewards), torch.from_numpy(reached), sources)
            if result.done:
                self.replay.begin_episode(torch.from_numpy(result.observations))
        self.observations = result.observations
        self.step += 1
        if self._update_due() and (not self.lags or self.step == self.config.budget.steps):
            self.update()

    @property
    def lags(self) -> bool:
        """Whether the update after a step is made during the next one, by a policy that does not know it yet."""
        return self.config.protocol.policy_lag == 1

    def _update_due(self) -> bool:
        """Whether an update belongs to the last step that was taken."""
        budget = self.config.budget
        return self.step > budget.warmup_steps and self.step % budget.update_every == 0

    def act(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Sample actions [task, 4] and, for a routed policy, the routes they came by [task, group, K]."""
        actor = self.learner.actor
        with torch.no_grad():
            seen = (
                torch.from_numpy(self.observations)
                .to(self.learner.log_alpha)
                .view(1, 1, len(self.observations), -1)
            )
            output = actor(seen, self.learner.sampled(actor, 1, self.acting))
            noise = torch.randn((1, 1, len(self.observations), 4), generator=self.acting).to(seen)
            action, _ = sample_action(output.value, noise)
            if self.step < self.config.budget.warmup_steps and self.config.budget.warmup_actions == "uniform":
                action = 2 * torch.rand(action.shape, generator=self.acting).to(action) - 1
        sources = output.route.sources[0, 0].to("cpu", torch.uint8) if output.route is not None else None
        return action[0, 0].cpu(), sources

    def update(self) -> None:
        """One update of the learner."""
        with self.stopwatch("replay"):
            batch = self.replay.sample(self.config.sac.batch_per_task, self.learning)
        with self.stopwatch("learner"):
            try:
                info = self.learner.update(batch, self.learner.draw(batch, self.learning))
            except Diverged as diverged:
                raise self._wrong(diverged.quantity, diverged.task) from None
            self.instruments.averages.add(info)
        self.updates += 1

    def _wrong(self, quantity: str, task: int | None) -> NumbersWentWrong:
        name = None if task is None else self.env.task_names[task]
        of_task = f" of task {name}" if name else ""
        message = f"{quantity}{of_task} is not finite at step {self.step} (update {self.updates})"
        return NumbersWentWrong({"task": name, "step": self.step, "quantity": quantity, "message": message})

    def _evaluation(self) -> Evaluation | None:
        with self.stopwatch("evaluation"):
            return evaluate(
                self.evaluation_env,
                self.learner.actor,
                self.config.evaluation_episodes_at(self.step),
                lambda: bool(self.stop),
            )

    def evaluate(self) -> None:
        """Evaluate the current policy and write what is known at this step; a signal leaves it for the next start."""
        evaluation = self._evaluation()
        if evaluation is None:
            return
        with self.stopwatch("instruments"):
            measured = self.instruments.measure(evaluation, self.replay, self.step)
        exceptions = [
            (self.step, task, "simulator_exceptions", int(n))
            for task, n in enumerate(self.env.simulator_exceptions)
        ]
        self.tidy["metrics.csv"].append(self._with_task_names([*measured.metrics, *exceptions]))
        self.tidy["routes.csv"].append(self._with_task_names(measured.routes))
        self._record_times()
        self.success = float(evaluation.success.mean())
        self.evaluated = self.step
        if self.step == self.config.budget.steps:
            self.final = evaluation

    def _record_times(self) -> None:
        self.tidy["timing.csv"].append(
            [(self.step, name, spent) for name, spent in self.stopwatch.seconds.items()]
        )

    def _with_task_names(self, rows: Sequence[Row]) -> list[Row]:
        return [(r[0], self.env.task_names[r[1]] if isinstance(r[1], int) else r[1], *r[2:]) for r in rows]

    def publish(self, evaluation: Evaluation | None, failure: dict[str, Any] | None) -> None:
        """Write the run's outputs, and its last checkpoint without the replay."""
        if failure is None:
            self.checkpoint(last=True)
        else:
            self._record_times()
        tidy = {name: read_bytes(file.path) for name, file in self.tidy.items()}
        episodes: list[Row] = []
        if evaluation is not None:
            episodes = [
                (self.env.task_names[task], episode, int(won), float(evaluation.returns[task, episode]))
                for (task, episode), won in np.ndenumerate(evaluation.success)
            ]
        policy = {name: value.contiguous().cpu() for name, value in self.learner.actor.state_dict().items()}
        # one key: safetensors writes several in random order
        label = {"config_hash": config_hash(self.config)}
        files = tidy | {
            "evaluation.csv": csv_bytes(COLUMNS["evaluation.csv"], episodes),
            "policy.safetensors": safetensors.torch.save(policy, metadata=label),
        }
        self.folders.publish(files, self._record(failure))
        if failure is None:
            self.store.keep_last()
        self.reporter.done(self.step, self.updates, self.success, failure)

    def _record(self, failure: dict[str, Any] | None) -> dict[str, Any]:
        key = self.folders.key
        return {
            "schema": SCHEMA,
            **key._asdict(),
            "protocol": self.config.protocol.id,
            "status": "finished" if failure is None else "failed",
            **stated(self.config),
            "steps": self.step,
            "updates": self.updates,
            **self.process,
            "execution": asdict(self.machine.execution),
            "started": self.started,
            "ended": provenance.now(),
            "resumes": self.resumes,
            "earlier": self.earlier,
            "parameters": count_parameters(self.config.network, self.config.num_tasks)._asdict(),
            "simulator_exceptions": int(self.env.simulator_exceptions.sum()),
            "failure": failure,
        }
