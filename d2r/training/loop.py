"""Seeds of one run side by side, or one alone: act, store, update, evaluate, checkpoint; then publish.

All seeds of a cohort stand at the same step. What they share is the learner's arithmetic; all else is each run's own
(``run.py``). A seed whose numbers go wrong is published as failed and leaves, and the others go on. Every step can be
the last before a crash.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from d2r.algorithms.acting import Acting, upload
from d2r.algorithms.draws import Draws
from d2r.algorithms.execution.update import Updates
from d2r.algorithms.members import side_by_side
from d2r.algorithms.replay import Batch, Replay
from d2r.algorithms.sac import Diverged, MultiTaskSAC, NotFinite
from d2r.config import RunConfig
from d2r.config.seeds import write_seeds
from d2r.envs.vector import StepArrays, vector_envs
from d2r.evaluation.success import Evaluation, evaluate_all
from d2r.networks.base import Network
from d2r.networks.registry import build_actor, build_critics
from d2r.runs.folders import RunFolders
from d2r.training.instruments import Averages, Seat
from d2r.training.learner_file import adaptation_of
from d2r.training.progress import Reporter
from d2r.training.run import Machine, Reached, Run, describe_process
from d2r.training.seeding import Stream, seed_sequence, torch_generator
from d2r.training.signals import StopRequest
from d2r.training.timing import Stopwatch

Floats = npt.NDArray[Any]


class Cohort:
    """The state of runs that differ in their seed alone, and what moves them together.

    A run that has come further than another waits: only those that are furthest behind are taken along, until the step
    where the next one waits, so that the caller can begin a cohort of all that have come so far.

    Args:
        configs: of the runs, equal but for the seed; folders: of each.
        ours: seeds whose newest checkpoint this process made, so that to go on from it is not to resume.

    Attributes:
        ended: seeds of the runs that were published; failures: what went wrong with those of them that failed.
    """

    def __init__(
        self,
        configs: Sequence[RunConfig],
        folders: Sequence[RunFolders],
        machine: Machine,
        stop: StopRequest,
        ours: Collection[int] = (),
    ):
        self.config, self.machine, self.stop = configs[0], machine, stop
        self.failures: dict[int, str] = {}
        self.ended: set[int] = set()
        device = torch.device(machine.device)
        actor, critics = _networks(configs)
        autocast = machine.execution.autocast != "none"
        self.learner = MultiTaskSAC(
            actor.to(device), critics.to(device), self.config.sac, autocast, adaptation_of(self.config)
        )
        protocol, budget = self.config.protocol, self.config.budget
        self.replay = Replay(
            budget.replay_capacity,
            protocol.horizon,
            self.config.num_tasks,
            protocol.time_limit == "terminal",
            actor.route_shape,
            device,
            len(configs),
        )
        self.averages = Averages(len(configs), self.config.num_tasks, device)
        seeds = [seed_sequence(config.seed, Stream.ENVIRONMENT) for config in configs]
        self.envs = vector_envs(self.config.trained_on, protocol, seeds, workers=machine.workers)
        self.evaluation_envs = vector_envs(
            self.config.trained_on, protocol, seeds, evaluation=True, workers=machine.workers
        )
        process = describe_process(machine, len(configs))
        self.runs = [
            Run(config, folder, machine, env, process, config.seed in ours)
            for config, folder, env in zip(configs, folders, self.envs, strict=True)
        ]
        self.stopwatch = Stopwatch()
        self.saved, self.until = Reached(step=-1), budget.steps
        self._leaving: set[int] = set()
        self.progress = self._begin()
        self._stack()

    @property
    def step(self) -> int:
        """Environment steps of every task that each run has taken."""
        return self.progress.step

    @property
    def updates(self) -> int:
        """Updates of each run."""
        return self.progress.updates

    def close(self) -> None:
        """Give back the environments' processes."""
        for env in (*self.envs, *self.evaluation_envs):
            env.close()

    def seat(self, place: int) -> Seat:
        """Learner, averages and replay of all runs, with the place that the run numbered ``place`` has in each."""
        return Seat(self.learner, self.averages, self.replay, place)

    def _begin(self) -> Reached:
        """Load or start each run, and keep those that are furthest behind."""
        found = [run.begin(self.seat(place)) for place, run in enumerate(self.runs)]
        for place, progress in enumerate(found):
            if progress is None:
                self.runs[place].start(self.seat(place))
                self.envs[place].reset_arrays()
        start = Reached(evaluated=-1 if self.config.is_evaluated_at(0) else 0)
        steps = [start if progress is None else progress for progress in found]
        behind = min(steps)
        self._keep([place for place, progress in enumerate(steps) if progress == behind])
        ahead = [progress.step for progress in steps if progress != behind]
        self.until = min(ahead, default=self.config.budget.steps)
        observations = np.stack([env.observations for env in self.envs])
        if self.step_begins_episode(behind.step):
            self.replay.begin_episode(torch.from_numpy(observations))
        self.replay.note_filling()
        self.observations: npt.NDArray[np.float64] = observations
        for run in self.runs:
            if run.restored:
                self.saved = behind
            if run.restored and not run.ours:
                print(f"{run.name}: resumed at step {behind.step}", flush=True)
        return behind

    def step_begins_episode(self, step: int) -> bool:
        """Whether an episode begins at a step, and is not the one after the last."""
        return step < self.config.budget.steps and step % self.config.protocol.horizon == 0

    def _keep(self, places: Sequence[int]) -> None:
        """Go on with some of the runs alone."""
        if len(places) == len(self.runs):
            return
        for place in set(range(len(self.runs))) - set(places):
            self.envs[place].close()
            self.evaluation_envs[place].close()
        self.runs = [self.runs[place] for place in places]
        self.envs = [self.envs[place] for place in places]
        self.evaluation_envs = [self.evaluation_envs[place] for place in places]
        if not places:
            return
        self.learner = self.learner.of_seeds(places)
        self.replay.keep(places)
        self.averages = self.averages.of_seeds(places)

    def _stack(self) -> None:
        """Set up what works on the learner of the runs that are left."""
        execution = self.machine.execution
        streams = [run.learning for run in self.runs]

        def inputs() -> tuple[Batch, Draws]:
            with self.stopwatch("replay"):
                batch = self.replay.sample(self.config.sac.batch_per_task, streams)
            return batch, self.learner.draw(batch, streams)

        self.updating = Updates(self.learner, execution, inputs, streams)
        self.acting = Acting(self.learner, [run.acting for run in self.runs], execution.graph)
        self.reporter = Reporter(self.name, self.config.budget.steps, self.runs, self.step)

    @property
    def name(self) -> str:
        """What the runs are called together."""
        if len(self.runs) == 1:
            return self.runs[0].name
        config, seeds = self.config, write_seeds(run.config.seed for run in self.runs)
        return f"{config.scale}/{config.benchmark}/{config.method}/seeds{seeds}"

    def to_the_end(self) -> int:
        """Run until the budget is spent, another run waits, a signal comes, or every run's numbers have gone wrong.

        Returns:
            Exit status: 0, or that of the signal; runs are published if the budget is spent.
        """
        budget = self.config.budget
        while self.runs:
            due = self.config.is_evaluated_at(self.step)
            if self.step > self.progress.evaluated and due and not self.stop:
                self.evaluate()
            ends = bool(self.stop) or self.step == self.until < budget.steps
            is_new = self.step > self.saved.step and self.step % budget.checkpoint_every == 0
            if is_new or (ends and self.progress != self.saved):
                self.checkpoint()
            if self.stop:
                for run in self.runs:
                    self.reporter.say(
                        run.name,
                        f"stopped by signal {self.stop.signal} at step {self.step}, checkpoint written",
                    )
                return self.stop.exit_status
            if self.step == budget.steps:
                return self._finish()
            if ends:
                return 0
            self.take_step()
            self.reporter.update(self.progress)
        return 0

    def _finish(self) -> int:
        """Publish the runs; each needs the evaluation of its final policy, which a signal may still prevent."""
        if any(run.final is None for run in self.runs):
            evaluations = self._evaluations()
            if evaluations is None:
                return self.stop.exit_status
            for run, evaluation in zip(self.runs, evaluations, strict=True):
                run.final = evaluation
        self.checkpoint(last=True)
        for place, run in enumerate(self.runs):
            run.publish(self.seat(place), self.progress, None)
            self.ended.add(run.config.seed)
            self.reporter.done(run, self.progress, None)
        return 0

    def take_step(self) -> None:
        """One step of every task, and the update that is due."""
        with self.stopwatch("acting"):
            action, sources = self.act()
        self._fail_unless_finite("action", action.numpy())  # the simulator would begin anew, and hide it
        action, sources = self._leave(action, sources)
        if not self.runs:
            return
        with self.stopwatch("environment"):
            for env, of_seed in zip(self.envs, action.numpy(), strict=True):
                env.begin_step(of_seed)
        if self.lags and self._update_due():
            self.update()
            if len(self._leaving) == len(self.runs):
                self._leave()
                return
        with self.stopwatch("environment"):
            result = stacked([env.end_step() for env in self.envs])
        action, sources, *arrays = self._leave(action, sources, *result)
        self._fail_unless_finite("observation or reward", arrays[0], arrays[1][..., None])
        action, sources, *arrays = self._leave(action, sources, *arrays)
        if not self.runs:
            return
        reached, rewards, self.observations = arrays
        device = self.replay.obs.device
        with self.stopwatch("replay"):
            self.replay.add(
                upload(action.numpy(), device), upload(rewards, device), upload(reached, device), sources
            )
        self.progress = self.progress._replace(step=self.step + 1)
        if self.step_begins_episode(self.step):
            self.replay.begin_episode(upload(self.observations, device))
        if self._update_due() and (not self.lags or self.step == self.config.budget.steps):
            self.update()
            self._leave()

    @property
    def lags(self) -> bool:
        """Whether the update after a step is made during the next one, by a policy that does not know it yet."""
        return self.config.protocol.policy_lag == 1

    def _update_due(self) -> bool:
        """Whether an update belongs to the last step that was taken."""
        budget = self.config.budget
        return self.step > budget.warmup_steps and self.step % budget.update_every == 0

    def act(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Sample actions [seed, task, 4] and, of routed policies, the routes they came by [seed, task, group, K]."""
        budget = self.config.budget
        uniformly = self.step < budget.warmup_steps and budget.warmup_actions == "uniform"
        return self.acting.sample(self.observations, uniformly)

    def update(self) -> None:
        """One update of the learner; a seed whose numbers go wrong is published as it was before."""
        with self.stopwatch("learner"):
            try:
                info = self.updating.update()
            except Diverged as diverged:
                for place, wrong in diverged.wrong.items():
                    self.fail(place, wrong)
                if len(self._leaving) == len(self.runs):
                    return
                info = diverged.info
                self.updating.finish(info, bool(info.masked.any()))
            self.averages.add(info)
        self.progress = self.progress._replace(updates=self.updates + 1)

    def fail(self, place: int, wrong: NotFinite) -> None:
        """Publish a run as failed; :meth:`_leave` goes on without it."""
        run = self.runs[place]
        failure = run.failure(wrong, self.progress)
        run.record_times(self.step, self.stopwatch.seconds)
        run.publish(self.seat(place), self.progress, failure)
        self.reporter.done(run, self.progress, failure)
        self.failures[run.config.seed] = failure.message
        self.ended.add(run.config.seed)
        self._leaving.add(place)

    def _fail_unless_finite(self, quantity: str, *arrays: Floats) -> None:
        """Fail the runs of which one of the arrays [seed, task, ...] holds something else than numbers."""
        bad = np.any([~np.isfinite(array).all(-1) for array in arrays], axis=0)
        for place in np.flatnonzero(bad.any(1)):
            self.fail(int(place), NotFinite(quantity, int(np.flatnonzero(bad[place])[0])))

    def _leave(self, *of_seeds: Any) -> Any:
        """Go on without the runs that failed; returns what was given, [seed, ...] each, of those that stay."""
        if not self._leaving:
            return of_seeds
        places = [place for place in range(len(self.runs)) if place not in self._leaving]
        self._leaving = set()
        self.observations = self.observations[places]
        self._keep(places)
        if self.runs:
            self._stack()
        return [None if values is None else values[places] for values in of_seeds]

    def _evaluations(self) -> list[Evaluation] | None:
        with self.stopwatch("evaluation"):
            return evaluate_all(
                self.evaluation_envs,
                self.acting.best,
                self.config.evaluation_episodes_at(self.step),
                lambda: bool(self.stop),
            )

    def evaluate(self) -> None:
        """Evaluate the current policies and write what is known; a signal leaves it for the next start."""
        evaluations = self._evaluations()
        if evaluations is None:
            return
        grown = False
        with self.stopwatch("instruments"):
            measured = [
                run.measure(evaluation, self.seat(place), self.step)
                for place, (run, evaluation) in enumerate(zip(self.runs, evaluations, strict=True))
            ]
        for run, evaluation, found in zip(self.runs, evaluations, measured, strict=True):
            run.note_evaluation(evaluation, found, self.step, self.stopwatch.seconds)
            grown = grown or found.grown
        self.averages.clear()
        if grown:
            self.updating.begin_anew()
            self.acting.begin_anew()
        self.progress = self.progress._replace(evaluated=self.step)

    def checkpoint(self, last: bool = False) -> None:
        """Write everything that the rest of each run depends on."""
        with self.stopwatch("checkpoint"):
            for place, run in enumerate(self.runs):
                run.checkpoint(self.seat(place), self.progress, self.stopwatch.seconds, last)
        self.saved = self.progress


def _networks(configs: Sequence[RunConfig]) -> tuple[Network, Network]:
    """Actor and critics of all runs, each drawn as if it were alone."""
    actors, critics = [], []
    for config in configs:
        initial = torch_generator(config.seed, Stream.INITIALISATION)
        actors.append(build_actor(config.network, config.num_tasks, initial))
        critics.append(build_critics(config.network, config.num_tasks, initial))
    return side_by_side(actors), side_by_side(critics)


def stacked(results: Sequence[StepArrays]) -> tuple[Floats, Floats, Floats]:
    """Where each run's step led to: observations reached [seed, task, 39], rewards, and observations to go on from."""
    reached = [r.observations if r.final_observations is None else r.final_observations for r in results]
    return (
        np.stack(reached),
        np.stack([result.rewards for result in results]),
        np.stack([result.observations for result in results]),
    )
