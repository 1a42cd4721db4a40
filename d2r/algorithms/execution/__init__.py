"""How an update is executed; what it computes stays the same, to last bits or to the chosen precision.

None of it belongs to a run's configuration, whose hash names a result: like threads and device it is stated
in ``run.json``. A run keeps it to its end, so that what is stated holds for every update. With everything
off, as it is by default, an update has the bits of the released results.

The options are declared here without PyTorch, which takes a second to import; ``prepare.py`` acts on them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Execution:
    """How an update is executed.

    Attributes:
        compile: losses and gradients go through ``torch.compile``. Sums may be taken in another order.
        graph: the update is captured as CUDA graphs and replayed (``recorded.py``).
        autocast: ``bf16``: matrix products of the networks, in the losses only, take operands of 8
            significant bits. Log-probabilities, targets, losses, parameters and the optimiser's state stay as
            they are.
        tf32: float32 matrix products on CUDA take operands of 11 significant bits.
    """

    compile: bool = False
    graph: bool = False
    autocast: Literal["none", "bf16"] = "none"
    tf32: bool = False

    def options(self) -> str:
        """Return the options that choose this.

        Example:
            >>> Execution(graph=True, autocast="bf16").options()
            '--graph --autocast bf16'
            >>> Execution().options()
            'none of --compile, --graph, --autocast, --tf32'
        """
        given = [
            *(["--compile"] if self.compile else []),
            *(["--graph"] if self.graph else []),
            *([f"--autocast {self.autocast}"] if self.autocast != "none" else []),
            *(["--tf32"] if self.tf32 else []),
        ]
        return " ".join(given) or "none of --compile, --graph, --autocast, --tf32"


PLAIN = Execution()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a command that makes updates: on which device, and how."""
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument(
        "--compile", action="store_true", help="compile the losses with torch.compile; needs a C++ compiler"
    )
    parser.add_argument("--graph", action="store_true", help="capture the update as CUDA graphs (cuda only)")
    parser.add_argument(
        "--autocast",
        choices=("none", "bf16"),
        default="none",
        help="of the networks' products in the losses (default none: the parameters' own precision)",
    )
    parser.add_argument("--tf32", action="store_true", help="TF32 for float32 products (cuda only)")


def chosen(args: argparse.Namespace) -> Execution:
    """Return what was chosen by the options."""
    return Execution(args.compile, args.graph, args.autocast, args.tf32)
