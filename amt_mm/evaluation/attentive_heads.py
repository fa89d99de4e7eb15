"""Classifiers that pool patch tokens by attention, several of a kind side by side."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from ..errors import InputError

# As in the batch norms of MAE, AIM and EP.
_EPS = 1e-6


class AttentiveHeads(nn.Module):
    """Attentive classifiers with equal initial values, each with parameters of its own.

    Side by side they read the tokens once, whatever their number. Query j of a classifier attends
    over all tokens ``x_i``; the output is the concatenation of ``V_j sum_i a_ji x_i`` with ``a_j =
    softmax_i(q_j . x_i)``, followed by a linear classifier. The values are projected after the
    sum, which gives the same result as projecting each token, for a fraction of the cost.

    Args:
        count: Number of classifiers, K.
        width: Width of the tokens, D.
        queries: Queries of each classifier, M, which share D equally.
        num_classes: Number of classes, C.
        seed: Seed of the initial values. Defaults to 0.

    Raises:
        InputError: M does not divide D.
    """

    def __init__(self, count: int, width: int, queries: int, num_classes: int, seed: int = 0
                 ) -> None:
        if queries < 1 or width % queries:
            raise InputError(f'{queries} queries cannot share tokens of width {width}: give a '
                             'number that divides it')
        super().__init__()
        part, generator = width // queries, torch.Generator().manual_seed(seed)

        def copies(value: Tensor) -> nn.ParameterList:
            # A parameter each, because an optimizer has one rate per parameter.
            return nn.ParameterList(value.clone() for _ in range(count))

        for name, value in self.attention_values(queries, width, generator).items():
            setattr(self, name, copies(value))
        self.values = copies(_projection(queries, part, width, generator))
        self.weights = copies(nn.init.trunc_normal_(
            torch.empty(num_classes, width), std=.01, generator=generator))
        self.biases = copies(torch.zeros(num_classes))

    @abstractmethod
    def attention_values(self, queries: int, width: int, generator: torch.Generator
                         ) -> dict[str, Tensor]:
        """Return the initial values of what :meth:`queries_of_tokens` reads, by name."""

    @abstractmethod
    def queries_of_tokens(self) -> Tensor:
        """Return the queries ``(K, M, D)`` that attend to the tokens themselves."""

    def prepare(self, tokens: Tensor) -> Tensor:
        """Return the tokens ``(B, N, D)`` that are attended to and summed."""
        return tokens

    def finish(self, pooled: Tensor) -> Tensor:
        """Return what the linear classifiers see of ``(B, K, D)``."""
        return pooled

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits ``(K, B, C)`` of tokens ``(B, N, D)``."""
        tokens = self.prepare(tokens)
        attention = self._attend(tokens)  # (B, K, M, N)
        pooled = (attention.flatten(1, 2) @ tokens).unflatten(1, attention.shape[1:3])
        pooled = torch.einsum('bkmd,kmed->bkme', pooled, _stacked(self.values))
        pooled = self.finish(pooled.flatten(2))  # (B, K, D)
        return (torch.einsum('bkd,kcd->kbc', pooled, _stacked(self.weights))
                + _stacked(self.biases)[:, None])

    def attention(self, tokens: Tensor) -> Tensor:
        """Return the attention of each query to tokens ``(B, N, D)``, ``(B, K, M, N)``."""
        return self._attend(self.prepare(tokens))

    def _attend(self, prepared: Tensor) -> Tensor:
        queries = self.queries_of_tokens()  # (K, M, D)
        attention = (queries.flatten(0, 1) @ prepared.mT).softmax(dim=-1)  # (B, K M, N)
        return attention.unflatten(1, queries.shape[:2])

    def parameters_of(self, head: int) -> list[nn.Parameter]:
        """Return the parameters of one of the classifiers."""
        return [part[head] for part in self.children() if isinstance(part, nn.ParameterList)]


class EPHeads(AttentiveHeads):
    """Efficient probing (Psomas et al., "Attention, Please! Revisiting Attentive Probing").

    arXiv 2506.10178: learnable queries attend to the tokens without projections of queries and
    keys, scaled by ``D^-1/2``; each query has its own D / M rows of the value projection. As in the
    authors' code, a batch norm without affine parameters precedes the classifier, and there are no
    biases but the classifier's.
    """

    def __init__(self, count: int, width: int, *args, **kwargs) -> None:
        super().__init__(count, width, *args, **kwargs)
        self.norm = nn.BatchNorm1d(count * width, eps=_EPS, affine=False)

    def attention_values(self, queries: int, width: int, generator: torch.Generator
                         ) -> dict[str, Tensor]:
        """See the parent; the authors' standard deviation."""
        return {'queries': torch.randn(queries, width, generator=generator) * .02}

    def queries_of_tokens(self) -> Tensor:
        """See the parent."""
        queries = _stacked(self.queries)
        return queries * queries.shape[-1]**-.5

    def finish(self, pooled: Tensor) -> Tensor:
        """Normalise over the batch."""
        return self.norm(pooled.flatten(1)).unflatten(1, pooled.shape[1:])


class AIMHeads(AttentiveHeads):
    """The attentive probe of AIM (El-Nouby et al., ICML 2024, arXiv 2401.08541).

    Cross-attention of one learnable query with M heads, key and value projections without biases,
    after a batch norm of the tokens without affine parameters. V-JEPA (Bardes et al., 2024) pools
    by such a query too, in a block with an MLP, which is left out here.

    A head's query and key projection have one product, ``q_h^T K_h``, which attends to the tokens
    themselves: equal, and without keys to compute.
    """

    def __init__(self, count: int, width: int, *args, **kwargs) -> None:
        super().__init__(count, width, *args, **kwargs)
        # One for all: they see the same tokens.
        self.norm = nn.BatchNorm1d(width, eps=_EPS, affine=False)

    def attention_values(self, queries: int, width: int, generator: torch.Generator
                         ) -> dict[str, Tensor]:
        """See the parent; AIM's standard deviation of the query."""
        part = width // queries
        return {'queries': torch.randn(queries, part, generator=generator) * .02,
                'keys': _projection(queries, part, width, generator)}

    def queries_of_tokens(self) -> Tensor:
        """See the parent."""
        queries = _stacked(self.queries)  # (K, M, D / M)
        return torch.einsum('kme,kmed->kmd', queries * queries.shape[-1]**-.5, _stacked(self.keys))

    def prepare(self, tokens: Tensor) -> Tensor:
        """Normalise over all tokens of the batch."""
        return self.norm(tokens.flatten(0, 1)).view_as(tokens)


def _projection(queries: int, part: int, width: int, generator: torch.Generator) -> Tensor:
    """Return initial values ``(M, D / M, D)`` of a projection, distributed as nn.Linear's."""
    return (torch.rand(queries, part, width, generator=generator) * 2 - 1) / width**.5


def _stacked(parameters: nn.ParameterList) -> Tensor:
    return torch.stack(list(parameters))
