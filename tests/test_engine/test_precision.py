"""``--amp``, and what a CPU makes of mixed precision."""

import copy

import pytest
from mmengine.config import ConfigDict

from amt_mm.engine import precision
from amt_mm.errors import InputError

ADAMW = dict(type='AdamW', lr=1e-3)
CASES = [
    # what the config has, --amp, device, what becomes of it
    (dict(type='OptimWrapper'), 'bf16', 'cpu', dict(type='amt_mm.BF16OptimWrapper')),
    (dict(type='AmpOptimWrapper', loss_scale=512., dtype='float16'), 'bf16', 'cuda',
     dict(type='amt_mm.BF16OptimWrapper')),
    (dict(), 'fp16', 'cuda', dict(type='AmpOptimWrapper', loss_scale='dynamic')),
    (dict(type='AmpOptimWrapper', loss_scale=512., dtype='bfloat16'), 'fp16', 'cuda',
     dict(type='AmpOptimWrapper', loss_scale=512.)),
    (dict(type='amt_mm.BF16OptimWrapper'), 'fp16', 'cuda',
     dict(type='AmpOptimWrapper', loss_scale='dynamic')),
    # Without --amp, what a CPU cannot run.
    (dict(type='AmpOptimWrapper', loss_scale='dynamic', use_fsdp=False), None, 'cpu',
     dict(type='OptimWrapper')),
    (dict(type='AmpOptimWrapper', loss_scale='dynamic', dtype='bfloat16'), None, 'cpu',
     dict(type='amt_mm.BF16OptimWrapper')),
    (dict(type='AmpOptimWrapper', loss_scale='dynamic'), None, 'cuda',
     dict(type='AmpOptimWrapper', loss_scale='dynamic')),
]


@pytest.mark.parametrize(('before', 'amp', 'device', 'after'), CASES)
def test_what_becomes_of_a_config(monkeypatch, capsys, before, amp, device, after):
    monkeypatch.setattr(precision, 'get_device', lambda: device)
    cfg = ConfigDict(optim_wrapper=dict(**copy.deepcopy(before), optimizer=ADAMW))
    if amp:
        precision.use_mixed_precision(cfg, amp)
    precision.fit_precision_to_cpu(cfg)
    assert cfg.optim_wrapper == dict(**after, optimizer=ADAMW)
    # Only where another precision is computed than was asked for.
    assert ('fp32' in capsys.readouterr().err) == (after['type'] == 'OptimWrapper')


def test_what_amp_cannot_do(monkeypatch):
    monkeypatch.setattr(precision, 'get_device', lambda: 'cpu')
    cfg = ConfigDict(optim_wrapper=dict(optimizer=ADAMW))
    with pytest.raises(InputError, match='--amp fp16 needs a GPU'):
        precision.use_mixed_precision(cfg, 'fp16')
    cfg.optim_wrapper.type = 'ApexOptimWrapper'
    with pytest.raises(InputError, match='cannot replace optim_wrapper.type=ApexOptimWrapper'):
        precision.use_mixed_precision(cfg, 'bf16')
