"""One run: what is its own, whether it trains alone or beside other seeds, and what it saves and publishes."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch

from d2r.algorithms.sac import NotFinite
from d2r.config import RunConfig, config_hash, project_root, stated
from d2r.config.execution import PLAIN, Execution
from d2r.envs.vector import MetaWorldVectorEnv
from d2r.errors import Unfit, UserError
from d2r.evaluation.success import Evaluation
from d2r.files import read_bytes
from d2r.kernel.library import implementation
from d2r.networks.registry import count_parameters
from d2r.runs.folders import RunFolders, hashes_of
from d2r.runs.layout import EVALUATION, GROWING, METRICS, POLICY, ROUTES, TIMING
from d2r.runs.record import SCHEMA, Failure, Parameters, Process, RunRecord
from d2r.runs.starts import read_source, source_folder, source_of
from d2r.runs.tidy import COLUMNS, Row, TidyFile, csv_bytes
from d2r.text import printable
from d2r.training import provenance
from d2r.training.checkpoint import CheckpointStore
from d2r.training.instruments import Instruments, Measured, Seat
from d2r.training.learner_file import read_learner, start_from
from d2r.training.seeding import Stream, generator_for, restore_generator
from d2r.training.source import source_state
from d2r.training.state import check_state
from d2r.training.timing import PARTS


@dataclass(frozen=True)
class Machine:
    """Where and how runs run; all but ``workers`` may change last bits, ``execution`` also precision.

    None of it is part of a run's configuration. A run that is resumed on another device or with other threads,
    workers or beside other seeds goes on with them, and its record names those of the process that ended it, and as
    ``earlier`` those of the ones before; ``execution`` must be the checkpoint's.
    """

    workers: int = 0
    threads: int = 1
    device: str = "cpu"
    execution: Execution = PLAIN


class Reached(NamedTuple):
    """How far a run has come: environment steps, updates, and the step of the last evaluation, -1 before one at 0."""

    step: int = 0
    updates: int = 0
    evaluated: int = 0


def name_of(config: RunConfig) -> str:
    """The run's name in what is said about it."""
    return f"{config.scale}/{config.benchmark}/{config.method}/seed{config.seed}"


def describe_process(machine: Machine, seeds: int) -> Process:
    """Source, packages and machine of this process, as records state them; ``cohort`` seeds are trained by it."""
    return Process(
        packages=provenance.package_versions(),
        **source_state(project_root()),
        cpu=provenance.cpu(),
        kernel=implementation(machine.device),
        gpu=provenance.gpu(machine.device),
        threads=machine.threads,
        workers=machine.workers,
        device=machine.device,
        cohort=seeds,
    )


class Run:
    """The part of a run's state that no other shares: environments, random streams, files, and what is known of it.

    Attributes:
        ours: whether its newest checkpoint is this process's; restored: whether it goes on from one.
    """

    def __init__(
        self,
        config: RunConfig,
        folders: RunFolders,
        machine: Machine,
        env: MetaWorldVectorEnv,
        process: Process,
        ours: bool,
    ):
        self.config, self.folders, self.machine, self.env = config, folders, machine, env
        self.ours, self.restored = ours, False
        self.name = name_of(config)
        self.acting = generator_for(config.seed, Stream.ACTING, machine.device)
        self.learning = generator_for(config.seed, Stream.LEARNING, machine.device)
        self.instruments = Instruments(config)
        self.tidy = {name: TidyFile(folders.checkpoints, name) for name in GROWING}
        self.store = CheckpointStore(folders.checkpoints)
        self.process, self.earlier, self.resumes = process, list[Process](), 0
        self.started = provenance.now()
        self.success: float | None = None
        self.final: Evaluation | None = None
        self.source: str | None = None
        """sha256 of the learner that the run started from."""

    def warn(self, message: str) -> None:
        """Say on the standard error what a user should know of this run."""
        print(f"{self.name}: {printable(message)}", file=sys.stderr, flush=True)

    def begin(self, seat: Seat) -> Reached | None:
        """Load the newest whole checkpoint that fits, and say how far it has come; none if the run starts.

        Raises:
            UserError: there are whole checkpoints, but none fits.
        """
        older_than: int | None = None
        while True:
            state, notes = self.store.load(seat.ring, older_than)
            for note in notes:
                self.warn(note)
            if state is None:
                break
            try:
                return self._restore(state, seat)
            except Unfit as why:
                older_than = self.store.newest
                self.warn(
                    f"checkpoint {older_than:012d} does not fit this version and was passed over: {why}"
                )
        if older_than is not None:
            raise UserError(
                f"{self.folders.checkpoints}: its checkpoint does not fit this version of the program; "
                "remove the folder to start again"
            )
        if notes:
            self.warn("no checkpoint is whole; starting again")
        for file in self.tidy.values():
            file.start()
        seat.ring.total = 0
        return None

    def start(self, seat: Seat) -> None:
        """Begin with the learner of another run, where the configuration says so.

        Raises:
            UserError: if that is missing, damaged, of another configuration or of other sizes.
        """
        source = source_of(self.config)
        if source is None:
            return
        folder = source_folder(source, self.folders.results)
        learner = read_learner(folder, read_source(folder, source))
        start_from(seat.learner, seat.place, learner, self.config.tasks, source.tasks)
        self.source = learner.sha256

    def _restore(self, state: dict[str, Any], seat: Seat) -> Reached:
        """Go on from a state.

        Raises:
            Unfit: it is one of another run or version.
            UserError: it is this run's, and cannot be gone on from.
        """
        check_state(state, seat, self.instruments, set(self.tidy), self.config.budget.steps)
        self._check_execution(state.get("execution"))
        seat.learner.load_state_dict(state["learner"], seat.place)
        restore_generator(self.acting, state["acting"])
        restore_generator(self.learning, state["learning"])
        seat.averages.load_state_dict(state["instruments"]["averages"], seat.place)
        self.instruments.load_state_dict(state["instruments"])
        for name, file in self.tidy.items():
            if not file.load_state_dict(state["tidy"][name]):
                self.warn(f"{name} was damaged and restored from the checkpoint")
        progress = Reached(state["step"], state["updates"], state["evaluated"])
        self.success, self.started = state["success"], state["started"]
        self.restored, self.source = True, state.get("source")
        self.resumes, before = state["resumes"], state.get("earlier", [])
        if not self.ours:
            self.resumes += 1
            # older checkpoints do not say where they come from
            before = [*before, {"until_step": progress.step, **state.get("process", {})}]
        self.earlier = [Process.model_validate(process) for process in before]
        environment = json.loads(state["environment"])
        environment["actions"] = state["environment_actions"].numpy()
        environment["simulator_exceptions"] = np.array(environment["simulator_exceptions"])
        self.env.load_state_dict(environment)
        # times count from the start of a process: a row of zeros says that a new one begins
        self.tidy[TIMING].append([(progress.step, part, 0.0) for part in (*PARTS, "total")])
        return progress

    def _check_execution(self, options: dict[str, Any] | None) -> None:
        """Refuse to go on by other arithmetic; older checkpoints do not say theirs."""
        if options is None or options == self.machine.execution.model_dump():
            return
        raise UserError(
            f"{self.folders.checkpoints}: its checkpoint was made with {Execution(**options).options()}; resume it "
            "so, or choose another --results"
        )

    def checkpoint(self, seat: Seat, progress: Reached, seconds: dict[str, float], last: bool) -> None:
        """Write everything that the rest of the run depends on; after the last step that is no longer the replay."""
        if progress.step > progress.evaluated:
            self.record_times(progress.step, seconds)
        environment = dict(self.env.state_dict())
        actions = torch.from_numpy(np.asarray(environment.pop("actions")))
        environment["simulator_exceptions"] = np.asarray(environment["simulator_exceptions"]).tolist()
        averages = {"averages": seat.averages.state_dict(seat.place)}
        state = {
            "learner": seat.learner.state_dict(seat.place),
            "acting": self.acting.get_state(),
            "learning": self.learning.get_state(),
            "instruments": averages | self.instruments.state_dict(),
            "tidy": {name: file.state_dict() for name, file in self.tidy.items()},
            **progress._asdict(),
            "success": self.success,
            "started": self.started,
            "resumes": self.resumes,
            "process": self.process.written(),
            "earlier": [process.written() for process in self.earlier],
            "environment": json.dumps(environment),
            "environment_actions": actions,
            "execution": self.machine.execution.model_dump(),
        }
        if self.source is not None:
            state["source"] = self.source
        for note in self.store.save(progress.step, state, None if last else seat.ring):
            self.warn(note)

    def measure(self, evaluation: Evaluation, seat: Seat, step: int) -> Measured:
        """Measure what there is to know after an evaluation; a growing network may grow."""
        return self.instruments.measure(evaluation, seat, step)

    def note_evaluation(
        self, evaluation: Evaluation, measured: Measured, step: int, seconds: dict[str, float]
    ) -> None:
        """Write what was measured at this step."""
        exceptions = [
            (step, task, "simulator_exceptions", int(n))
            for task, n in enumerate(self.env.simulator_exceptions)
        ]
        self.tidy[METRICS].append(self._with_task_names([*measured.metrics, *exceptions]))
        self.tidy[ROUTES].append(self._with_task_names(measured.routes))
        self.record_times(step, seconds)
        self.success = float(evaluation.success.mean())
        if step == self.config.budget.steps:
            self.final = evaluation

    def record_times(self, step: int, seconds: dict[str, float]) -> None:
        """Write where the process has spent its time."""
        self.tidy[TIMING].append([(step, name, spent) for name, spent in seconds.items()])

    def _with_task_names(self, rows: Sequence[Row]) -> list[Row]:
        return [(r[0], self.env.task_names[r[1]] if isinstance(r[1], int) else r[1], *r[2:]) for r in rows]

    def failure(self, wrong: NotFinite, progress: Reached) -> Failure:
        """What a record says of numbers that went wrong."""
        name = None if wrong.task is None else self.env.task_names[wrong.task]
        of_task = f" of task {name}" if name else ""
        message = (
            f"{wrong.quantity}{of_task} is not finite at step {progress.step} (update {progress.updates})"
        )
        return Failure(task=name, step=progress.step, quantity=wrong.quantity, message=message)

    def publish(self, seat: Seat, progress: Reached, failure: Failure | None) -> None:
        """Write the run's outputs."""
        tidy = {name: read_bytes(file.path) for name, file in self.tidy.items()}
        episodes: list[Row] = []
        if failure is None and self.final is not None:
            episodes = [
                (self.env.task_names[task], episode, int(won), float(self.final.returns[task, episode]))
                for (task, episode), won in np.ndenumerate(self.final.success)
            ]
        actor = seat.learner.state_dict(seat.place)["actor"]
        policy = {name: value.contiguous().cpu() for name, value in actor.items()}
        # one key: safetensors writes several in random order
        label = {"config_hash": config_hash(self.config)}
        files = tidy | {
            EVALUATION: csv_bytes(COLUMNS[EVALUATION], episodes),
            POLICY: safetensors.torch.save(policy, metadata=label),
        }
        self.folders.publish(files, self._record(progress, failure, files))
        if failure is None:
            self.store.keep_last()

    def _record(self, progress: Reached, failure: Failure | None, files: Mapping[str, bytes]) -> RunRecord:
        record = RunRecord(
            schema=SCHEMA,
            **self.folders.key._asdict(),
            protocol=self.config.protocol.id,
            status="finished" if failure is None else "failed",
            **stated(self.config).model_dump(),
            steps=progress.step,
            updates=progress.updates,
            **self.process.written(),
            execution=self.machine.execution,
            started=self.started,
            ended=provenance.now(),
            resumes=self.resumes,
            earlier=self.earlier,
            parameters=Parameters(**count_parameters(self.config.network, self.config.num_tasks)._asdict()),
            simulator_exceptions=int(self.env.simulator_exceptions.sum()),
            failure=failure,
            outputs=hashes_of(files),
        )
        return record if self.source is None else record.model_copy(update={"source": self.source})
