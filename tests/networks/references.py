"""The slow, obvious form that every architecture has to have, and the small networks on which it is compared.

The form of ``type: x-y`` is marked with :func:`reference` in ``tests/networks/test_x_y.py``; those of the architectures
that are here from the start are in modules of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from torch import Tensor

from d2r.config.networks import NetworkBase, network_classes

SlowForm = Callable[[Any, Tensor, int], Tensor]

FORMS: dict[str, SlowForm] = {}
SMALL: dict[str, NetworkBase] = {}


def reference(*configs: NetworkBase, **named: NetworkBase) -> Callable[[SlowForm], SlowForm]:
    """Mark the slow form of the type of ``configs``, and have the network compared with it at each of them.

    The function takes a network built with an ensemble of one, an input vector and the task's number, reads the
    network's parameters, and returns the output vector: one sample of one task, in the plainest arithmetic.
    """

    def enter(form: SlowForm) -> SlowForm:
        for name, config in [*((config.type, config) for config in configs), *named.items()]:
            FORMS[config.type] = form
            SMALL[name.replace("_", " ")] = config
        return form

    return enter


def module_of_test(name: str) -> str:
    return f"tests.networks.test_{name.replace('-', '_')}"


def find_references() -> list[str]:
    """Import the slow forms of all architectures; returns the types that have none."""
    for module in ("baseline_references", "routed_references"):
        import_module(f"tests.networks.{module}")
    for name in network_classes():
        if name not in FORMS and find_spec(module_of_test(name)) is not None:
            import_module(module_of_test(name))
    return [name for name in network_classes() if name not in FORMS]
