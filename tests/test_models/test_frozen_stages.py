"""Early blocks that keep their weights."""

import pytest
import torch
from three_hosts import DEPTH, HOSTS, build_host

from amt_mm.errors import InputError
from amt_mm.masking import AMTMaskGenerator

BEFORE_THE_BLOCKS = ('cls_token', 'pos_embed', 'patch_embed', 'pre_norm')


def gradients(host, **backbone):
    model = build_host(host, **backbone)
    torch.manual_seed(1)
    images = torch.randn(5, 3, 32, 48)
    plan = AMTMaskGenerator()(5, (4, 6), torch.rand(5, 24))
    loss, _ = model.parse_losses(model(images, mode='loss', plan=plan))
    loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize('more', [{}, dict(with_cp=True), dict(num_registers=2)],
                         ids=['plain', 'with_cp', 'registers'])
@pytest.mark.parametrize('host', HOSTS)
def test_frozen_blocks_get_no_gradient_and_the_others_the_same(host, more):
    whole, found = gradients(host, **more), gradients(host, frozen_stages=2, **more)
    assert whole.keys() == found.keys()
    frozen = [name for name in found if name.startswith(tuple(
        f'backbone.{part}' for part in (*BEFORE_THE_BLOCKS, 'layers.0.', 'layers.1.')))]
    assert any(whole[name] is not None for name in frozen)
    for name, gradient in found.items():
        if name in frozen or whole[name] is None:
            assert gradient is None, name
        else:
            torch.testing.assert_close(gradient, whole[name], msg=name)


def test_nothing_is_kept_of_frozen_blocks_for_a_backward_pass():
    model = build_host('mae', frozen_stages=DEPTH - 1)
    need = []
    for block in model.backbone.layers:
        block.register_forward_hook(lambda module, args, output: need.append(output.requires_grad))
    plan = AMTMaskGenerator()(2, (4, 6), torch.rand(2, 24))
    model(torch.randn(2, 3, 32, 48), mode='loss', plan=plan)
    assert need == [False] * (DEPTH - 1) + [True]


@pytest.mark.parametrize('wrong', [-1, DEPTH, True, .5, None])
def test_an_invalid_number_is_named(wrong):
    with pytest.raises(InputError, match=f'frozen_stages={wrong} must be .* than the {DEPTH} ther'):
        build_host('mae', frozen_stages=wrong)
