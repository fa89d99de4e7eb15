"""No operation waits for the device between a collated batch and the gradients, for any host.

The meta device stands for a GPU: its tensors have no values that could be read. Copies that would
make the CPU wait (blocking ones, or those hidden in an index) raise an error too.
"""

import numpy as np
import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from amt_mm.models import Host
from amt_mm.saliency import SaliencyStore, SaliencyWriter

ARCH = dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)
SIZE = dict(img_size=(32, 48), patch_size=8)
LOSS = dict(type='PixelReconstructionLoss', criterion='L2')
HOSTS = {
    'mae': dict(
        type='amt_mm.AMTMAE', backbone=dict(type='amt_mm.AMTMAEViT', arch=ARCH, **SIZE),
        neck=dict(type='amt_mm.AMTMAEDecoder', decoder_embed_dim=16, decoder_depth=2,
                  decoder_num_heads=2),
        head=dict(type='amt_mm.AMTMAEHead', norm_pix=True, loss=LOSS)),
    'simmim': dict(
        type='amt_mm.AMTSimMIM', neck=dict(type='amt_mm.AMTSimMIMDecoder'),
        backbone=dict(type='amt_mm.AMTSimMIMViT', arch=ARCH, drop_path_rate=.1, **SIZE),
        head=dict(type='amt_mm.AMTSimMIMHead', loss=LOSS)),
    'maskfeat': dict(
        type='amt_mm.AMTMaskFeat', backbone=dict(type='amt_mm.AMTMaskFeatViT', arch=ARCH, **SIZE),
        neck=dict(type='LinearNeck'), target_generator=dict(type='amt_mm.AMTHOGGenerator'),
        head=dict(type='MIMHead', loss=LOSS)),
}
GENERATORS = ('AMTMaskGenerator', 'RandomMaskGenerator', 'AnnealedMaskGenerator',
              'LowAttendedMaskGenerator', 'BlockMaskGenerator')
aten = torch.ops.aten
# Operators whose result or its shape depends on values.
WAITING = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten._unique2,
           aten.unique_consecutive, aten.unique_dim, aten.bincount, aten.is_nonzero, aten.item}
COPIES = {aten._to_copy, aten.copy_}


class Waiting(AssertionError):
    pass


class RefuseWaiting(TorchDispatchMode):
    """Raise where an operator would make the CPU wait for `device`."""

    def __init__(self, device):
        super().__init__()
        self.device, self.operators = device, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self.operators += 1
        name = func.overloadpacket
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        here = [each.device.type == self.device for each in tensors]
        if name in WAITING and any(here):
            raise Waiting(f'{func} reads values')
        if name in (aten.index, aten.index_put, aten.index_put_) and here[0]:
            for index in args[1]:
                if index is not None and (index.dtype in (torch.bool, torch.uint8)
                                          or index.device.type != self.device):
                    raise Waiting(f'{func} by a mask, or by an index on the CPU')
        if name in COPIES:
            source = tensors[-1].device
            target = tensors[0].device if name is aten.copy_ else kwargs.get('device') or source
            waits = not (kwargs.get('non_blocking') or args[2:3] == (True, ))
            if source != target and (target.type == 'cpu' or waits):
                raise Waiting(f'{func} from {source} to {target}')
        return func(*args, **kwargs)


class RefuseHostData(TorchFunctionMode):
    """Raise where Python numbers are copied to the device, which is invisible to dispatch modes."""

    def __init__(self, device):
        super().__init__()
        self.device = device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.device != 'cpu':
            if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
                parts = args[1] if isinstance(args[1], tuple) else (args[1], )
                if args[0].device.type == self.device and any(
                        isinstance(part, (list, np.ndarray)) for part in parts):
                    raise Waiting(f'an index on the CPU: {args[1]}')
            if func in (torch.tensor, torch.as_tensor, torch.from_numpy) and kwargs.get('device'):
                raise Waiting(f'{func.__name__} copies its numbers to the device')
        return func(*args, **kwargs)


@pytest.fixture
def step(tmp_path, monkeypatch):
    """Factory ``step(host, device, guided=True, generator=...)`` of a model and its step."""
    autocast = torch.autocast
    # The meta device has no autocast to disable.
    monkeypatch.setattr(torch, 'autocast', lambda device, *args, **kwargs: autocast(
        'cpu' if device == 'meta' else device, *args, **kwargs))

    def make(host='mae', device='meta', guided=True, generator='AMTMaskGenerator'):
        model = MODELS.build({**HOSTS[host], 'data_preprocessor': dict(
            type='amt_mm.AMTDataPreprocessor', mean=[1., 2, 3], std=[1., 2, 3], to_rgb=True,
            mask_generator=dict(type=f'amt_mm.{generator}'))}).to(device).train()
        model.data_preprocessor.mask_generator.progress = .5
        if guided:
            writer = SaliencyWriter(tmp_path / 'a.amtmap', 9, (4, 6), 'made-up')
            writer.write(torch.arange(9), torch.rand(9, 24))
            model.data_preprocessor.store = SaliencyStore(writer.commit())
        samples = [DataSample() for _ in range(3)]
        for i, sample in enumerate(samples):
            sample.set_metainfo(dict(
                sample_idx=2 * i, crop_box=np.array([.1, .2, .6, .9], np.float32),
                flip=i == 1, flip_direction='horizontal' if i == 1 else None))
        batch = {'inputs': torch.zeros(3, 3, 32, 48, dtype=torch.uint8), 'data_samples': samples}

        def run():
            with RefuseHostData(device), RefuseWaiting(device) as mode:
                data = model.data_preprocessor(batch, training=True)
                loss, _ = model.parse_losses(model(**data, mode='loss'))
                loss.backward()
            return mode, data['plan']

        if device == 'meta':  # the first guided step of a run moves a counter to the device
            monkeypatch.setattr(model.data_preprocessor, 'fallbacks', torch.zeros(
                (), dtype=torch.int64, device=device))
        return model, run

    return make


@pytest.mark.parametrize('guided', [True, False], ids=['guided', 'warm-up'])
@pytest.mark.parametrize('device', ['meta', 'cpu'])
@pytest.mark.parametrize('host', HOSTS)
def test_nothing_waits(step, host, device, guided):
    model, run = step(host, device, guided)
    mode, plan = run()
    assert mode.operators > 300  # including the backward pass
    assert plan.thrown.shape[1] == (10 if guided else 0)
    assert plan.masked.device.type == device
    assert all(parameter.grad.device.type == device for parameter in model.parameters()
               if parameter.requires_grad)


@pytest.mark.parametrize('generator', GENERATORS)
def test_no_mask_generator_waits(step, generator):
    step(generator=generator)[1]()


def test_token_losses_do_not_wait(step):
    model, run = step()
    model.report_token_losses = True
    run()


READERS = {
    'item': lambda x: x.sum().item(),
    'float': lambda x: float(x.mean()),
    'if': lambda x: bool((x > 0).any()),
    'nonzero': lambda x: x.nonzero(),
    'mask': lambda x: x[x > 0],
    'assignment by a mask': lambda x: x.detach().clone().index_put_((x > 0, ), torch.zeros_like(
        x[:0].sum())),
    'masked_select': lambda x: x.masked_select(x > 0),
    'unique': lambda x: x.unique(),
    'list of indices': lambda x: x[:, [0, 2, 1]],
    'cpu': lambda x: x.cpu(),
    'constant': lambda x: x + torch.tensor([1.]).to(x.device),
    'constant on the device': lambda x: x + torch.tensor([1.], device=x.device),
}


# In the backward pass Python numbers are invisible; none of the package's code runs there.
@pytest.mark.parametrize(('reader', 'where'), [
    (reader, where) for reader in READERS for where in ('plan', 'forward', 'backward')
    if where != 'backward' or reader not in ('list of indices', 'constant on the device')])
def test_waiting_operation_is_detected(step, monkeypatch, reader, where):
    model, run = step()
    read = READERS[reader]
    if where == 'plan':
        weights = model.data_preprocessor.look_up_weights
        monkeypatch.setattr(model.data_preprocessor, 'look_up_weights',
                            lambda *args: (read(weights(*args)), weights(*args))[1])
    elif where == 'forward':
        monkeypatch.setattr(Host, 'target', lambda self, inputs, patches, plan: (
            read(patches), patches.gather(1, plan.masked[..., None].expand(
                -1, -1, patches.shape[-1])))[1])
    else:
        model.neck.decoder_pred.weight.register_hook(
            lambda gradient: (read(gradient), None)[1])
    with pytest.raises(Waiting):
        run()
