"""MAE's decoder by cross-attention, from masked tokens to those of the encoder."""

import pytest
import torch
from slow_mae import make_images, make_plan
from torch.nn import functional as F

from amt_mm.masking import MaskPlan


def slow_predictions(neck, latent, plan):
    """Decode one masked patch at a time, with each head's softmax written out."""
    rows = []
    for sample, ids in enumerate(plan.masked.tolist()):
        places = [0] + [1 + i for i in plan.visible[sample].tolist()]
        context = torch.stack([neck.decoder_embed(token) + neck.decoder_pos_embed[0, place]
                               for token, place in zip(latent[sample], places, strict=False)])
        for patch in ids:
            x = neck.mask_token[0, 0] + neck.decoder_pos_embed[0, 1 + patch]
            for block in neck.decoder_blocks:
                width, dims = block.attn.embed_dims, block.attn.head_dims
                weight, bias = block.attn.qkv.weight, block.attn.qkv.bias
                query = weight[:width] @ block.ln1(x) + bias[:width]
                attended = []
                for first in range(0, width, dims):
                    head = slice(first, first + dims)
                    scores, values = [], []
                    for token in block.ln1(context):
                        key = (weight[width:2 * width] @ token + bias[width:2 * width])[head]
                        scores.append(query[head] @ key / dims**.5)
                        values.append((weight[2 * width:] @ token + bias[2 * width:])[head])
                    shares = torch.stack(scores).softmax(0)
                    attended.append((shares[:, None] * torch.stack(values)).sum(0))
                x = x + block.attn.proj.weight @ torch.cat(attended) + block.attn.proj.bias
                (first, *_), second = block.ffn.layers[0], block.ffn.layers[1]
                x = x + second(F.gelu(first(block.ln2(x))))
            rows.append(neck.decoder_pred(neck.ln1(x)))
    return torch.stack(rows).unflatten(0, plan.masked.shape)


@pytest.mark.parametrize(('masked', 'thrown', 'entering'), [(15, 14, 7), (1, 33, 2), (26, 0, 1)])
def test_predictions_equal_the_slow_reference(toy_mae, masked, thrown, entering):
    neck = toy_mae(neck=dict(cross_attention=True, decoder_depth=2)).double().neck
    plan = make_plan(2, masked, thrown)
    latent = torch.randn(2, 1 + plan.visible.shape[1], 24, dtype=torch.float64)[:, :entering]
    torch.testing.assert_close(neck(latent, plan), slow_predictions(neck, latent, plan),
                               rtol=1e-11, atol=1e-11)


def test_a_patch_is_predicted_the_same_whatever_else_is_masked(toy_mae):
    for cross in (True, False):
        neck = toy_mae(neck=dict(cross_attention=cross, decoder_depth=2)).double().neck
        plan = make_plan(3)
        latent = torch.randn(3, 1 + plan.visible.shape[1], 24, dtype=torch.float64)
        fewer = MaskPlan(plan.masked[:, 4:9], torch.cat([
            plan.thrown, plan.masked[:, :4], plan.masked[:, 9:]], dim=1), plan.visible, plan.grid)
        assert torch.allclose(neck(latent, fewer), neck(latent, plan)[:, 4:9]) == cross


def test_recomputed_gradients_and_parameter_names_are_the_same(toy_mae):
    images, plan = make_images(), make_plan()
    plain = toy_mae()
    found = []
    for with_cp in (False, True):
        model = toy_mae(neck=dict(cross_attention=True, with_cp=with_cp))
        assert list(model.state_dict()) == list(plain.state_dict())
        model.loss(images, None, plan)['loss'].backward()
        found.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    for name, gradient in found[0].items():
        assert gradient is not None and torch.equal(gradient, found[1][name]), name
