"""Attentive classifiers against their formulas, written with loops, and torch's attention."""

import numpy as np
import pytest
import torch
from torch import nn

from amt_mm.errors import InputError
from amt_mm.evaluation.attentive_heads import AIMHeads, EPHeads

K, B, N, D, M, C = 3, 5, 7, 12, 4, 6


@pytest.fixture
def tokens():
    return torch.randn(B, N, D, generator=torch.Generator().manual_seed(1)) * 3 + 1


def make(kind, queries=M):
    """Heads whose parameters all differ, in double precision as their oracle."""
    torch.manual_seed(0)
    heads = kind(K, D, queries, C).double()
    for parameter in heads.parameters():
        nn.init.normal_(parameter)
    return heads


def softmax(scores):
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def normalised(values):
    """Over all axes but the last."""
    rows = values.reshape(-1, values.shape[-1])
    return (values - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-6)


def loops(heads, tokens, k, query_of):
    """Before and after the projection of values, one number at a time."""
    x, values = tokens.numpy(), heads.values[k].detach().numpy()
    out = np.zeros((B, D))
    for b in range(B):
        for j in range(M):
            a = softmax(np.array([query_of(j, x[b, i]) for i in range(N)]))
            for e in range(D // M):
                # Each token is projected, then summed, as the papers write it.
                out[b, j * (D // M) + e] = sum(a[i] * (values[j, e] @ x[b, i]) for i in range(N))
    return out


def classified(heads, pooled, k):
    return pooled @ heads.weights[k].detach().numpy().T + heads.biases[k].detach().numpy()


def test_efficient_probing_is_its_formula(tokens):
    heads, tokens = make(EPHeads), tokens.double()
    found = heads(tokens).detach().numpy()
    assert found.shape == (K, B, C)
    for k in range(K):
        queries = heads.queries[k].detach().numpy()
        pooled = loops(heads, tokens, k, lambda j, x, q=queries: q[j] @ x / np.sqrt(D))
        np.testing.assert_allclose(found[k], classified(heads, normalised(pooled), k), rtol=1e-9)


def test_the_probe_of_aim_is_its_formula(tokens):
    heads, tokens = make(AIMHeads), tokens.double()
    found = heads(tokens).detach().numpy()
    plain = torch.from_numpy(normalised(tokens.numpy()))
    for k in range(K):
        queries, keys = (part[k].detach().numpy() for part in (heads.queries, heads.keys))
        pooled = loops(heads, plain, k, lambda h, x, q=queries, key=keys:
                       q[h] @ (key[h] @ x) / np.sqrt(D // M))
        np.testing.assert_allclose(found[k], classified(heads, pooled, k), rtol=1e-9)


def test_the_probe_of_aim_is_torchs_multi_head_attention(tokens):
    heads, tokens = make(AIMHeads).eval(), tokens.double()
    heads.norm.running_mean.normal_()
    heads.norm.running_var.uniform_(.5, 2)
    attention = nn.MultiheadAttention(D, M, bias=False, batch_first=True, dtype=torch.double)
    with torch.no_grad():
        found = heads(tokens)
        normal = ((tokens - heads.norm.running_mean)
                  / (heads.norm.running_var + 1e-6).sqrt())
        for k in range(K):
            attention.in_proj_weight.copy_(torch.cat([
                torch.eye(D), heads.keys[k].flatten(0, 1), heads.values[k].flatten(0, 1)]))
            attention.out_proj.weight.copy_(torch.eye(D))
            query = heads.queries[k].flatten().expand(B, 1, D)
            pooled, weights = attention(query, normal, normal, average_attn_weights=False)
            pooled = pooled[:, 0]
            torch.testing.assert_close(heads.attention(tokens)[:, k], weights[:, :, 0])
            torch.testing.assert_close(
                found[k], nn.functional.linear(pooled, heads.weights[k], heads.biases[k]))


@pytest.mark.parametrize('kind', [EPHeads, AIMHeads])
def test_uniform_attention_is_linear_probing_of_the_mean_token(tokens, kind):
    """Value projection and classifier are then one linear map of the (normalised) mean token."""
    heads, tokens = make(kind).eval(), tokens.double()
    heads.norm.running_mean.normal_()
    heads.norm.running_var.uniform_(.5, 2)
    mean, var = heads.norm.running_mean, heads.norm.running_var + 1e-6
    with torch.no_grad():
        for parameter in heads.queries:
            parameter.zero_()
        found = heads(tokens)
        for k in range(K):
            values = heads.values[k].flatten(0, 1)
            if kind is EPHeads:
                part = slice(k * D, (k + 1) * D)
                pooled = (tokens.mean(dim=1) @ values.T - mean[part]) / var[part].sqrt()
            else:
                pooled = (tokens.mean(dim=1) - mean) / var.sqrt() @ values.T
            torch.testing.assert_close(
                found[k], nn.functional.linear(pooled, heads.weights[k], heads.biases[k]))


@pytest.mark.parametrize('kind', [EPHeads, AIMHeads])
def test_classifiers_begin_alike_and_share_no_gradient(tokens, kind):
    heads = kind(K, D, M, C, seed=3)
    start = heads(tokens)
    assert torch.equal(start[0], start[2])
    assert not torch.equal(start, kind(K, D, M, C, seed=4)(tokens))
    start[1].square().sum().backward()
    for i in range(K):
        gradients = [parameter.grad for parameter in heads.parameters_of(i)]
        assert all(grad is None or grad.eq(0).all() for grad in gradients) == (i != 1)
    every = {id(parameter) for i in range(K) for parameter in heads.parameters_of(i)}
    assert every == {id(parameter) for parameter in heads.parameters()}


def test_queries_that_do_not_divide_the_width_are_refused():
    with pytest.raises(InputError, match='5 queries cannot share tokens of width 12'):
        EPHeads(K, D, 5, C)
