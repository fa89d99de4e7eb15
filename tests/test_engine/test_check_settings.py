"""check_settings: numbers out of range and sections that are none, by their names."""

import pytest
from mmengine.config import Config

from amt_mm.engine.check_settings import check_settings
from amt_mm.errors import InputError

GOOD = dict(
    model=dict(type='A'), work_dir='w', load_from=None, train_dataloader=dict(
        batch_size=2, num_workers=0), train_cfg=dict(max_epochs=1., val_interval=1),
    optim_wrapper=dict(optimizer=dict(lr=0, weight_decay=1e-2), clip_grad=dict(max_norm=1.)),
    custom_hooks=[], param_scheduler=[dict(type='B')], test_dataloader=None)


def test_a_config_that_can_be(monkeypatch):
    check_settings(Config(GOOD))
    check_settings(Config(dict(model=None, train_cfg=dict(type='Loop'), optim_wrapper=dict(
        type='C', optimizer=None, clip_grad=None))))


@pytest.mark.parametrize(('name', 'values'), [
    ('train_cfg.max_epochs', (0, -1, 1.5, 'x', True, float('nan'), float('inf'))),
    ('train_cfg.max_iters', (0, -3)), ('train_cfg.val_interval', (0, )),
    ('train_dataloader.batch_size', (0, -1, 'x')), ('val_dataloader.batch_size', (0, )),
    ('val_dataloader.num_workers', (-1, .5)), ('optim_wrapper.accumulative_counts', (0, -2)),
    ('auto_scale_lr.base_batch_size', (0, )),
    ('optim_wrapper.optimizer.lr', (-1, float('nan'), float('inf'), 'x')),
    ('optim_wrapper.optimizer.weight_decay', (-.1, float('nan'))),
    ('optim_wrapper.clip_grad.max_norm', (-1., )), ('optim_wrapper.clip_grad.clip_value', (-1, )),
    ('train_dataloader', (3, 'x')), ('optim_wrapper', ('x', )), ('custom_hooks', (3, )),
    ('randomness.seed', (-1, 'x')), ('load_from', (3, )), ('work_dir', (True, ))])
def test_what_cannot_be_is_named(name, values):
    for value in values:
        cfg = Config(GOOD)
        cfg.merge_from_dict({name: value})
        with pytest.raises(InputError, match=f'^config: {name}={value!r} must be'):
            check_settings(cfg)
