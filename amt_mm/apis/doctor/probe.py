"""What the stack says of itself, as lines of JSON; a process of its own, which may crash.

``python -m amt_mm.apis.doctor.probe``
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec


def torch_and_devices() -> dict:
    """Import torch; versions, threads, GPUs that add numbers, and ways to exchange them."""
    import torch
    from torch import distributed

    there = distributed.is_available()
    facts = dict(version=torch.__version__, cuda=torch.version.cuda or torch.version.hip,
                 threads=torch.get_num_threads(), gpus=[], no_gpu='',
                 gloo=there and distributed.is_gloo_available(),
                 nccl=there and distributed.is_nccl_available())
    if not torch.cuda.is_available():
        if facts['cuda']:
            try:
                torch.cuda.init()
            except Exception as error:
                facts['no_gpu'] = _line(error)
        return facts
    for number in range(torch.cuda.device_count()):
        gpu = dict(name=torch.cuda.get_device_name(number), error='')
        try:
            gpu['free'], gpu['memory'] = torch.cuda.mem_get_info(number)
            gpu['bf16'] = torch.cuda.get_device_capability(number) >= (8, 0)
            assert torch.ones(8, device=f'cuda:{number}').sum().item() == 8
        except Exception as error:
            gpu['error'] = _line(error)
        facts['gpus'].append(gpu)
    return facts


def torchvision_operators() -> dict:
    """Import torchvision and call an operator that is compiled for one version of torch."""
    import torch
    import torchvision

    boxes = torch.tensor([[0., 0, 4, 4], [0, 0, 4, 4], [5, 5, 9, 9]])
    kept = torchvision.ops.nms(boxes, torch.tensor([3., 2, 1]), .5)
    assert kept.tolist() == [0, 2]
    return dict(version=torchvision.__version__)


def openmmlab() -> dict:
    """Import all that training imports."""
    import amt_mm.registry  # noqa: F401, I001
    from amt_mm.engine.bf16 import cpu_has_bf16

    return dict(cpu_bf16=cpu_has_bf16())


def mmcv_operators() -> dict:
    """Load mmcv's compiled operators, if it has any."""
    if find_spec('mmcv._ext') is None:
        return dict(there=False)
    import mmcv._ext  # noqa: F401

    return dict(there=True)


def turbojpeg() -> dict:
    """Load libturbojpeg."""
    import amt_mm.registry  # noqa: F401, I001
    from amt_mm.datasets.libturbojpeg import libturbojpeg

    return dict(there=libturbojpeg() is not None)


PARTS: dict[str, Callable[[], dict]] = {
    'torch': torch_and_devices, 'torchvision': torchvision_operators, 'openmmlab': openmmlab,
    'mmcv': mmcv_operators, 'turbojpeg': turbojpeg}


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or ['']
    return f'{type(error).__name__}: {lines[0]}'


def main() -> None:
    """Print the facts of each part, or its error, as soon as they are known."""
    for part, look in PARTS.items():
        try:
            facts = look()
        except Exception as error:
            facts = dict(error=_line(error))
        print('\n' + json.dumps({'part': part, 'facts': facts}), flush=True)


if __name__ == '__main__':
    main()
