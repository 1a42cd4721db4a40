"""From routing logits to a route: which sources each reader reads, their weights, and which of them are suitable.

What is chosen is laid out as [ensemble, reader, K, row] and logits as [ensemble, logit, row], a row being a (batch,
task) pair: PyTorch then reduces the candidates of a reader over whole vectors of rows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor, nn

from d2r.kernel.library import serving
from d2r.networks.d2r import compiled
from d2r.networks.d2r.candidates import Readers, at_module_level
from d2r.networks.d2r.compiled import Decided, Question
from d2r.networks.routing import Deterministic, Replayed, RouteRule, Sampled

NO_CANDIDATE = float("-inf")


class RouteChoice(nn.Module):
    """How sources are chosen among candidates, weighed, and judged by ResRouting; it has no parameters.

    Args:
        readers: who may read whom.
        top_k: sources of each reader; none: all of its candidates (soft routing).
        renormalise: whether weights are a softmax over the chosen logits alone, or their shares of the full softmax.
        resrouting: which sources are unsuitable: with ``threshold`` those whose full softmax is at most 1/(c+1) at c
            candidates (official code), with ``target`` those outside the current top K (the paper's words).

    Attributes:
        num_logits: logits of a transition, reader after reader, and for each of them candidate after candidate.
        exists: [N, N] boolean, candidates of each reader among the modules in use.
        in_group: [N, K] boolean, whether a reader has so many candidates.
        last_candidate: [N, 1], what a reader with fewer than K candidates repeats, with weight 0.

    These have the ensemble as one more axis before them where its members use different numbers of modules.
    """

    exists: Tensor
    in_group: Tensor
    last_candidate: Tensor
    _mask: Tensor
    _logit_of: Tensor
    _logit_or_constant: Tensor
    _weighted: Tensor
    _in_order: Tensor
    _row: Tensor
    _least_share: Tensor

    def __init__(
        self,
        readers: Readers,
        top_k: int | None,
        renormalise: bool = True,
        resrouting: Literal["off", "threshold", "target"] = "threshold",
    ):
        super().__init__()
        count, most = len(readers), max(len(reader.candidates) for reader in readers)
        self.num_modules, self.top_k = count, most if top_k is None else min(top_k, most)
        self.renormalise, self.resrouting = renormalise, resrouting
        self._soft, self._all_routed = self.top_k == most, all(reader.routed for reader in readers)
        self._at_module_level = list(readers) == list(at_module_level(count))
        sizes = [len(reader.candidates) if reader.routed else 0 for reader in readers]
        self.num_logits = sum(sizes)
        # behind the logits stand minus infinity, for what is no candidate, and 0, for a candidate without alternatives;
        # modules behind a reader's last candidate have the logit of that one, for scores that are not numbers
        logit_of = [
            [before + max(bisect_right(reader.candidates, module), 1) - 1 for module in range(count)]
            if reader.routed
            else [self.num_logits + 1] * count
            for reader, before in zip(readers, accumulate(sizes, initial=0), strict=False)
        ]
        mask = [[module in reader.candidates for module in range(count)] for reader in readers]
        self._keep("_logit_of", torch.tensor(logit_of))
        self._keep("_mask", torch.tensor(mask))
        self._keep("_weighted", torch.tensor([reader.weighted for reader in readers]).view(-1, 1, 1))
        self._keep("_row", torch.arange(count).view(-1, 1, 1) * count)
        self.use_modules([self.num_modules])

    def _keep(self, name: str, table: Tensor) -> None:
        """Keep a table on the network's device, and out of its state."""
        self.register_buffer(name, table, persistent=False)

    def use_modules(self, counts: Sequence[int]) -> None:
        """Let readers choose among the first modules only: so many of each member of the ensemble, or of all."""
        self.in_use, self._alike = max(counts), len(set(counts)) == 1
        module = torch.arange(self.num_modules, device=self._mask.device)
        count = torch.tensor(counts, device=module.device).view(-1, 1, 1)
        exists = self._mask & (module < (self.in_use if self._alike else count))
        number = exists.sum(-1, keepdim=True)
        last = torch.where(exists, module, 0).amax(-1, keepdim=True)
        in_order = torch.where(exists, module, self.num_modules).sort(-1).values
        self._keep("exists", exists)
        self._keep("in_group", module[: self.top_k] < number)
        self._keep("last_candidate", last)
        self._keep("_in_order", torch.minimum(in_order[..., : self.top_k], last).unsqueeze(-1))
        self._keep("_least_share", (1.0 / (number + 1)).unsqueeze(-1))
        self._keep("_logit_or_constant", torch.where(exists, self._logit_of, self.num_logits).flatten(-2))

    @property
    def restricts(self) -> bool:
        """Whether ResRouting blocks gradients in training."""
        return self.resrouting != "off"

    @property
    def is_compiled(self) -> bool:
        """Whether the compiled library knows this way to decide: that of module level, and not every ablation."""
        as_in_paper = self._at_module_level and self.renormalise and self.resrouting != "target"
        return as_in_paper and not self._soft and self._alike

    def decide(self, logits: Tensor, rule: RouteRule, batch: int, restrict: bool) -> Decided:
        """Pick sources, weigh them, and say which of them ResRouting lets be optimised if that is asked for."""
        kernel = serving(logits)
        if kernel is not None and self.is_compiled:
            return compiled.decide(kernel, logits, self.question(rule, restrict))
        with torch.no_grad():
            sources = self.choose(logits.detach(), rule, batch)
            suitable = self.suitable(logits.detach(), sources) if restrict else None
        return Decided(sources, self.weigh(logits, sources), suitable)

    def question(self, rule: RouteRule, restrict: bool) -> Question:
        """The rule as the compiled library takes it."""
        question = Question(self.num_modules, self.in_use, self.top_k, restrict)
        match rule:
            case Replayed(sources):
                given = sources.flatten(1, 2).to(torch.uint8).contiguous()
                return question._replace(given=given)
            case Sampled(temperature, gumbel):
                noise = gumbel.permute(0, 3, 1, 2).flatten(2)
                return question._replace(noise=noise, temperature=temperature)
            case Deterministic():
                return question

    def choose(self, logits: Tensor, rule: RouteRule, batch: int) -> Tensor:
        """Pick K sources for each reader, [ensemble, reader, K, row]."""
        match rule:
            case Replayed(sources):
                replayed = sources.permute(0, 3, 4, 1, 2).flatten(3).to(torch.long)
                return replayed.expand(len(logits), -1, -1, -1)
            case Sampled(temperature, gumbel):
                coldness = temperature.reciprocal().repeat(1, batch).unsqueeze(1)
                noise = gumbel.permute(0, 3, 1, 2).flatten(2)
                return self.top(self.per_reader(torch.addcmul(noise, logits, coldness)))
            case Deterministic():
                return self.top(self.per_reader(logits))

    def top(self, scores: Tensor) -> Tensor:
        """The K largest scores of each reader of [ensemble, reader, N, row]."""
        if self._soft:
            return self._in_order.expand(*scores.shape[:2], -1, scores.shape[3])
        best = largest(scores, self.top_k)
        return torch.where(self.in_group.unsqueeze(-1), best, self.last_candidate.unsqueeze(-1))

    def weigh(self, logits: Tensor, sources: Tensor) -> Tensor:
        """Softmax over the logits of the chosen sources alone, or their part of the full one.

        Shape [ensemble, reader, K, row].
        """
        missing = torch.where(self.in_group, 0.0, NO_CANDIDATE).to(logits.dtype).unsqueeze(-1)
        chosen = self._of_sources(logits, sources) + missing
        if self.renormalise:
            weights = chosen.softmax(2)
        else:
            weights = (chosen - self.per_reader(logits).logsumexp(2, keepdim=True)).exp()
        return weights if self._all_routed else weights * self._weighted

    def suitable(self, logits: Tensor, sources: Tensor) -> Tensor:
        """Which chosen sources ResRouting lets be optimised, same shape as ``sources``."""
        per_reader = self.per_reader(logits)
        if self.resrouting == "target":
            best = self.top(per_reader)
            return (sources.unsqueeze(3) == best.unsqueeze(2)).any(3)
        share = per_reader.softmax(2).gather(2, sources)
        return share > self._least_share

    def per_reader(self, logits: Tensor) -> Tensor:
        """Spread logits over [ensemble, reader, N, row]; minus infinity where a module is no candidate."""
        known, index = self._with_constants(logits), self._logit_or_constant
        if self._alike:
            spread = known.index_select(1, index)
        else:
            spread = known.gather(1, index.unsqueeze(2).expand(-1, -1, logits.shape[2]))
        return spread.view(len(logits), self.num_modules, self.num_modules, -1)

    def _with_constants(self, logits: Tensor) -> Tensor:
        """Logits with the constants behind them that candidates without a logit have."""
        shape = (len(logits), 1, logits.shape[2])
        constants = [logits.new_full(shape, NO_CANDIDATE)]
        if not self._all_routed:
            constants.append(logits.new_zeros(shape))
        return torch.cat([logits, *constants], 1)

    def _of_sources(self, logits: Tensor, sources: Tensor) -> Tensor:
        """The logits of chosen sources, [ensemble, reader, K, row]."""
        known = logits if self._all_routed else self._with_constants(logits)
        index = self._logit_of.flatten()[sources + self._row]
        return known.gather(1, index.flatten(1, 2)).view(sources.shape)


def largest(scores: Tensor, k: int) -> Tensor:
    """Indices of the k largest scores along dimension 2, largest first; of equal ones the first comes first.

    Where the scores of many rows lie side by side this is much faster than ``topk``: k passes of vector maxima. A score
    that is not a number chooses the last candidate, so that it reaches the loss, where it is diagnosed.
    """
    count = scores.shape[2]
    after = torch.arange(count - 1, -1, -1, dtype=scores.dtype, device=scores.device).unsqueeze(1)
    chosen: list[Tensor] = []
    for _ in range(k):
        if chosen:
            scores = scores.scatter(2, chosen[-1], NO_CANDIDATE)
        # a comparison into floats runs over vectors, one into booleans does not
        is_best = torch.eq(scores, scores.amax(2, keepdim=True), out=torch.empty_like(scores))
        chosen.append(count - 1 - is_best.mul_(after).amax(2, keepdim=True).to(torch.long))
    return torch.cat(chosen, 2)
