"""PCGrad on coefficients against the paper's algorithm 1 on the gradients themselves."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2r.algorithms import pcgrad as surgery
from d2r.algorithms.pcgrad import pcgrad, pcgrad_weights, project
from d2r.algorithms.replay import Batch
from d2r.algorithms.sac import MultiTaskSAC
from d2r.config import SacConfig
from d2r.config.networks import MultiHeadConfig
from d2r.networks.registry import build_actor, build_critics
from tests.support.one_seed import one_seed


def algorithm_1(gradients, order):
    """The paper's algorithm, gradient by gradient; checks after each projection that the conflict is gone."""
    result = []
    for i, gradient in enumerate(gradients):
        projected = gradient.clone()
        for j in order[i].tolist():
            if j == i:
                continue
            other = gradients[j]
            inner = projected @ other
            if inner < 0 and other @ other > 0:
                projected = projected - inner / (other @ other) * other
                assert projected @ other >= -1e-9 * (1 + gradient.norm() * other.norm())
        result.append(projected)
    return torch.stack(result)


def combined(gradients, generator):
    """What an ensemble of one makes of its [task, parameter] gradients."""
    return pcgrad(gradients.unsqueeze(0), [generator]).squeeze(0)


def random_order(tasks, source):
    return torch.stack([torch.randperm(tasks, generator=source) for _ in range(tasks)])


def conflicting(seed, tasks, parameters):
    """Task gradients of lengths that differ by orders of magnitude, more of them in conflict than not."""
    source = torch.Generator().manual_seed(seed)
    common = torch.randn(parameters, generator=source, dtype=torch.float64)
    signs = 1 - 2 * torch.randint(0, 2, (tasks, 1), generator=source)
    lengths = 10 ** (4 * torch.rand(tasks, 1, generator=source, dtype=torch.float64) - 2)
    return lengths * (
        signs * common + torch.randn(tasks, parameters, generator=source, dtype=torch.float64)
    ), source


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), tasks=st.integers(1, 12), parameters=st.integers(1, 30))
def test_equals_the_algorithm_on_conflicting_gradients(seed, tasks, parameters):
    gradients, source = conflicting(seed, tasks, parameters)
    order = random_order(tasks, source)
    expected = algorithm_1(gradients, order)
    got = project(gradients @ gradients.T, order) @ gradients
    torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-7 * float(gradients.abs().max()))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), tasks=st.integers(2, 8), parameters=st.integers(1, 30))
def test_no_conflict_is_left_right_after_each_single_projection(seed, tasks, parameters):
    gradients, source = conflicting(seed, tasks, parameters)
    order, gram = random_order(tasks, source), gradients @ gradients.T
    for visits in range(1, tasks + 1):
        projected = project(gram, order[:, :visits]) @ gradients
        last = order[:, visits - 1]
        visited = gradients[last]
        inner = (projected * visited).sum(1)
        no_conflict = inner >= -1e-9 * gradients.norm(dim=1) * visited.norm(dim=1) - 1e-12
        assert (no_conflict | (last == torch.arange(tasks))).all(), "but a task does not visit itself"


ADVERSARIAL = {
    "opposite": [[1.0, 2.0], [-1.0, -2.0]],
    "opposite, unequal": [[1e3, 0.0], [-1e-3, 0.0]],
    "one is zero": [[1.0, -1.0], [0.0, 0.0], [-1.0, 0.5]],
    "all are zero": [[0.0, 0.0], [0.0, 0.0]],
    "identical": [[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]],
    "orthogonal": [[1.0, 0.0], [0.0, 1.0]],
    "three ways round a circle": [[1.0, 0.0], [-0.5, 0.866], [-0.5, -0.866]],
    "both nearly against the first": [[1.0, 0.0, 0.0], [-1.0, 1e-3, 0.0], [-1.0, -1e-3, 1e-3]],
    "single task": [[3.0, -4.0]],
}


@pytest.mark.parametrize("case", ADVERSARIAL.values(), ids=ADVERSARIAL.keys())
def test_equals_the_algorithm_on_adversarial_gradients(case):
    gradients = torch.tensor(case, dtype=torch.float64)
    for seed in range(5):
        order = random_order(len(case), torch.Generator().manual_seed(seed))
        got = project(gradients @ gradients.T, order) @ gradients
        torch.testing.assert_close(got, algorithm_1(gradients, order), rtol=1e-7, atol=1e-9)
        assert combined(gradients, torch.Generator().manual_seed(seed)).isfinite().all()


def test_opposite_gradients_cancel_and_agreeing_ones_add_up():
    source = torch.Generator().manual_seed(0)
    opposite = torch.tensor([[1.0, 2.0], [-3.0, -6.0]])
    # what is left of lengths up to 7 is a few roundings of float32: how many depends on the processor's products
    assert combined(opposite, source).abs().max() <= 8 * torch.finfo(torch.float32).eps * opposite.norm()
    agreeing = torch.tensor([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 2.0]])
    torch.testing.assert_close(combined(agreeing, source), agreeing.sum(0))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    parameters=st.integers(1, 30),
    exponents=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
)
def test_two_tasks_end_up_with_no_conflict_whatever_their_lengths(seed, parameters, exponents):
    source = torch.Generator().manual_seed(seed)
    gradients = torch.randn(2, parameters, generator=source, dtype=torch.float64)
    lengths = 10 ** torch.tensor(exponents, dtype=torch.float64).unsqueeze(1)
    gradients *= lengths / gradients.norm(dim=1, keepdim=True)
    if gradients[0] @ gradients[1] > 0:
        gradients[1] *= -1
    projected = project(gradients @ gradients.T, torch.tensor([[0, 1], [1, 0]])) @ gradients
    left = (projected * gradients.flip(0)).sum(1)
    # an inner product of P numbers is off by up to P * 1.1e-16 of the lengths' product; four of them, P <= 30
    assert (left.abs() <= 2e-14 * lengths.prod()).all()


def test_each_task_of_each_member_has_an_order_of_its_own(monkeypatch):
    orders = []

    def recorded(gram, order):
        orders.append(order)
        return project(gram, order)

    monkeypatch.setattr(surgery, "project", recorded)
    gram = torch.eye(8).expand(2, 8, 8)
    for seed in (1, 1, 2):
        pcgrad_weights(gram, [torch.Generator().manual_seed(seed)])
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
    rows = [tuple(row) for row in orders[0].flatten(0, 1).tolist()]
    assert all(sorted(row) == list(range(8)) for row in rows)
    assert len(set(rows)) == 2 * 8


def test_members_draw_and_project_as_if_they_came_one_after_the_other():
    gradients = torch.stack([conflicting(seed, 6, 101)[0] for seed in range(3)])
    source = torch.Generator().manual_seed(4)
    one_by_one = torch.stack([combined(member, source) for member in gradients])
    together = pcgrad(gradients, [torch.Generator().manual_seed(4)])
    # one product of all members and one of each may sum in another order
    torch.testing.assert_close(together, one_by_one, rtol=1e-9, atol=1e-12 * float(gradients.abs().max()))


def test_float32_gradients_of_many_parameters_stay_close_to_float64():
    gradients, _ = conflicting(5, 10, 20_000)
    exact = combined(gradients, torch.Generator().manual_seed(9))
    single = combined(gradients.float(), torch.Generator().manual_seed(9))
    assert single.dtype == torch.float32
    assert (single - exact).norm() < 1e-4 * exact.norm()


def test_a_head_keeps_the_direction_of_its_own_task():
    """Two tasks share one parameter and own one each: surgery rescales a head's gradient but never mixes heads."""
    gradients = torch.tensor([[1.0, 2.0, 0.0], [-1.0, 0.0, 3.0]])
    assert (combined(gradients, torch.Generator().manual_seed(0))[1:] > 0).all()


TASKS, SIZE = 4, 8


def learner_with_surgery():
    """A small learner in float64, and a batch of its tasks at very different rewards."""
    source = torch.Generator().manual_seed(0)
    network = MultiHeadConfig(hidden_dim=16)
    actor, critics = build_actor(network, TASKS, source), build_critics(network, TASKS, source)
    sac = MultiTaskSAC(actor.double(), critics.double(), SacConfig(gradient_surgery="pcgrad"))

    def draw(*shape):
        return torch.randn(SIZE, TASKS, *shape, generator=source, dtype=torch.float64)

    reward = draw() + torch.tensor([-3.0, 3.0, -1.0, 1.0], dtype=torch.float64)
    data = Batch(draw(39), draw(4).tanh(), reward, draw(39), torch.zeros_like(reward), None)
    return sac, one_seed(data)


def test_a_learner_gives_every_member_of_its_networks_the_algorithms_gradient():
    sac, data = learner_with_surgery()
    losses = sac.losses(data, sac.draw(data, [torch.Generator().manual_seed(1)]))
    masked = torch.tensor([[False, False, True, False]])
    gradients = []  # of the actor, then of each critic: [task, parameter]
    for network in (sac.actor, sac.critics):
        for member in range(network.ensemble):
            rows = []
            for task in range(TASKS):
                mean_loss = losses.of_task[0, task] / TASKS
                of_task = torch.autograd.grad(mean_loss, list(network.parameters()), retain_graph=True)
                row = torch.cat([gradient[member].flatten() for gradient in of_task])
                rows.append(torch.zeros_like(row) if masked[0, task] else row)
            gradients.append(torch.stack(rows))

    sac.backward(losses.of_task, masked, [torch.Generator().manual_seed(2)])

    source = torch.Generator().manual_seed(2)
    networks = [(sac.actor, 0), (sac.critics, 0), (sac.critics, 1)]
    for (network, member), of_tasks in zip(networks, gradients, strict=True):
        order = torch.rand(TASKS, TASKS, generator=source).argsort(1)
        expected = algorithm_1(of_tasks, order).sum(0)
        assert not torch.allclose(expected, of_tasks.sum(0)), "surgery has something to do"
        for parameter in network.parameters():
            piece, expected = expected.tensor_split([parameter[member].numel()])
            torch.testing.assert_close(parameter.grad[member].flatten(), piece, rtol=1e-7, atol=1e-12)
        assert expected.numel() == 0
