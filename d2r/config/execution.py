"""How an update is executed; what it computes stays the same, to last bits or to the chosen precision.

None of it belongs to a run's configuration, whose hash names a result: like threads and device it is stated
in ``run.json``. A run keeps it to its end, so that what is stated holds for every update. With everything
off, as it is by default, an update has the bits of the released results.

Nothing here needs PyTorch, which takes a second to import; ``d2r.algorithms.execution.prepare`` acts on the choice.
"""

from __future__ import annotations

from typing import Literal

from d2r.config.schema import Frozen


class Execution(Frozen):
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
