"""Blocks: outputs, gradients and random draws equal mmpretrain's, for some tokens or all."""

import copy

import pytest
import torch
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from mmpretrain.models.utils import MultiheadAttention
from torch.profiler import ProfilerActivity, profile

from amt_mm.errors import InputError
from amt_mm.models.blocks import Attention, Block, use_fast_blocks


def pair(**changes):
    """mmpretrain's block and ours with the same random parameters."""
    torch.manual_seed(0)
    theirs = TransformerEncoderLayer(24, 3, 40, **changes).double()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=.3)
    ours = copy.deepcopy(theirs)
    use_fast_blocks([ours])
    assert type(ours) is Block and type(ours.attn) is Attention
    assert list(ours.state_dict()) == list(theirs.state_dict())
    return theirs, ours


@pytest.mark.parametrize('changes', [
    {}, dict(qkv_bias=False), dict(layer_scale_init_value=.1), dict(drop_path_rate=.5)])
@pytest.mark.parametrize('num_outputs', [None, 1, 4, 7])
def test_output_and_gradients_equal_mmpretrains(num_outputs, changes):
    theirs, ours = pair(**changes)
    tokens = torch.randn(3, 7, 24, dtype=torch.float64)
    outputs, gradients = [], []
    for block, last in ((theirs, None), (ours, num_outputs)):
        entering = tokens.clone().requires_grad_()
        torch.manual_seed(5)  # drop path draws the same numbers in both
        output = block(entering) if last is None else block(entering, last)
        output = output[:, output.shape[1] - (num_outputs or 7):]
        (output**2).sum().backward()
        outputs.append(output)
        gradients.append([entering.grad, *(p.grad for p in block.parameters())])
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)
    for want, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, want, rtol=1e-11, atol=1e-11)


def test_a_width_that_the_heads_do_not_divide_is_refused():
    with pytest.raises(InputError, match='width 25 cannot have 3 heads'):
        use_fast_blocks([TransformerEncoderLayer(25, 3, 40)])


def test_zero_outputs():
    assert pair()[1](torch.randn(2, 5, 24, dtype=torch.float64), 0).shape == (2, 0, 24)


def test_value_shortcut_and_dropout_equal_the_parents():
    torch.manual_seed(0)
    theirs = MultiheadAttention(8, 1, attn_drop=.5, proj_drop=.3, v_shortcut=True)
    ours = copy.deepcopy(theirs)
    ours.__class__ = Attention
    x = torch.randn(2, 5, 8)
    for training in (True, False):
        for attention in (theirs, ours):
            attention.train(training)
        torch.manual_seed(1)
        want = theirs(x)
        torch.manual_seed(1)
        torch.testing.assert_close(ours(x), want)


def test_gradient_is_written_without_filling_zeros():
    """The parent's three indices fill three tensors of the size of all of queries to values."""
    filled = []
    for block in pair():
        tokens = torch.randn(2, 7, 24, dtype=torch.float64, requires_grad=True)
        output = block(tokens).sum()
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
            output.backward()
        filled.append(sum(event.count for event in profiler.key_averages(True)
                          if event.key == 'aten::select_backward'))
    assert filled == [3, 0]


def test_other_blocks_are_unchanged():
    class Own(TransformerEncoderLayer):
        pass

    blocks = [Own(24, 3, 40), torch.nn.Linear(2, 2)]
    use_fast_blocks(blocks)
    assert [type(block) for block in blocks] == [Own, torch.nn.Linear]
