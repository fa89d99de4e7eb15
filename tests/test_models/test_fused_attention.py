"""All blocks of all hosts use torch's fused attention kernel, in training and in refreshes."""

import pytest
import torch
from three_hosts import DECODER_DEPTH, DEPTH, GRID, HOSTS, SIZE, build_host
from torch.utils._python_dispatch import TorchDispatchMode

from amt_mm.masking import AMTMaskGenerator
from amt_mm.saliency import cls_saliency


class Kernels(TorchDispatchMode):
    """Count fused attention kernels and softmax operators, which unfused attention uses."""

    def __enter__(self):
        self.fused = self.softmax = 0
        return super().__enter__()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.fused += 'scaled_dot_product_flash_attention' in str(operator)
        self.softmax += 'softmax' in str(operator)
        return operator(*args, **(kwargs or {}))


@pytest.mark.parametrize('precision', [torch.float32, torch.bfloat16], ids=['fp32', 'bf16'])
@pytest.mark.parametrize('host', HOSTS)
def test_step_runs_one_kernel_per_block_and_direction(host, precision):
    model = build_host(host)
    images, plan = torch.randn(3, 3, *SIZE), AMTMaskGenerator()(3, GRID, torch.rand(3, 24))
    blocks = DEPTH + DECODER_DEPTH * {'mae': 1, 'mae_cls': 2}.get(host, 0)
    with torch.autocast('cpu', torch.bfloat16, enabled=precision == torch.bfloat16), \
            Kernels() as forward:
        loss, _ = model.parse_losses(model(images, mode='loss', plan=plan))
    with Kernels() as backward:
        loss.backward()
    assert (forward.fused, backward.fused) == (blocks, blocks)
    assert (forward.softmax, backward.softmax) == (0, 0)


def test_refresh_computes_one_row_of_the_last_block():
    model = build_host('mae')
    with Kernels() as kernels:
        cls_saliency(model.backbone, torch.randn(2, 3, *SIZE))
    assert (kernels.fused, kernels.softmax) == (DEPTH - 1, 1)
