"""Every config of a pre-training resolves to a model, a pipeline and hooks that build."""

from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmpretrain.registry import HOOKS, MODELS, TRANSFORMS

import amt_mm.registry  # noqa: F401, I001  (before mmpretrain: makes torchvision importable)
from amt_mm.config import apply_overlay

CONFIGS = Path(__file__).parents[1] / 'configs'
# Of hosts; others: test_attmask_configs.py, test_benchmark_configs.py, test_detection, test_study,
# test_segmentation_configs.py.
FILES = sorted(path.relative_to(CONFIGS) for path in CONFIGS.rglob('*.py')
               if not {'_base_', 'attmask', 'benchmarks', 'mmdet', 'segmentation', 'studies'}
               & set(path.parts))

# Masked and thrown of 196 tokens in the guided phase: Tables 1 and 4 of the paper.
COUNTS = {'mae_': (147, 0), 'mae-random_': (147, 0), 'mae-am_': (147, 0), 'mae-amt_': (88, 78),
          'mae-amt-sharded_': (88, 78),
          'mae-amt-no-norm-pix_': (88, 78), 'mae-amt-as-released_': (88, 78),
          'mae-random-throw-45-40_': (88, 78), 'mae-amt-75-10_': (147, 19),
          'mae-amt-throw-low_': (88, 78), 'mae-amt-annealed_': (88, 78),
          'mae-block_': (147, 0), 'mae-grid_': (147, 0), 'mae-low-attended_': (147, 0),
          'mae-loss-guided_': (147, 0)}


@cache
def resolve(path):
    cfg = Config.fromfile(CONFIGS / path)
    init_default_scope('mmpretrain')
    cfg = apply_overlay(cfg)
    with torch.device('meta'):  # shapes without memory: a ViT-B in no time
        model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    dataset = cfg.train_dataloader.dataset
    transforms = [TRANSFORMS.build(transform) for transform in dataset.pipeline]
    hooks = [HOOKS.build(hook) for hook in cfg.get('custom_hooks', [])]
    return cfg, model, transforms, hooks


@pytest.mark.parametrize('path', FILES, ids=str)
def test_config_builds(path):
    cfg, model, transforms, hooks = resolve(path)
    assert transforms
    assert sum(p.numel() for p in model.backbone.parameters()) > 8e5
    # The stages of the learning rate tile the epochs, and guidance begins inside them.
    stages = [stage for stage in cfg.param_scheduler if stage.type.endswith('LR')]
    assert stages[0].begin == 0 and stages[-1].end == cfg.train_cfg.max_epochs
    assert all(a.end == b.begin for a, b in zip(stages, stages[1:], strict=False))
    for hook in hooks:
        if type(hook).__name__ == 'SaliencyUpdateHook':
            assert 0 < hook.begin < cfg.train_cfg.max_epochs


@pytest.mark.parametrize('path', [f for f in FILES if f.parts[0] == 'mae'], ids=str)
def test_imagenet_configs_have_the_counts_of_their_row(path):
    cfg, model, _, hooks = resolve(path)
    wanted = COUNTS[path.name.split('vit-')[0]]
    if cfg.model.type == 'MAE':  # mmpretrain's own: it has the ratio in the backbone
        assert model.backbone.mask_ratio == .75
        return
    generator = model.data_preprocessor.mask_generator
    generator.finish()
    plan = generator(1, (14, 14), torch.ones(1, 196))
    assert (plan.masked.shape[1], plan.thrown.shape[1]) == wanted
    if generator.needs_weights:
        warm = generator(1, (14, 14))
        assert (warm.masked.shape[1], warm.thrown.shape[1]) == (147, 0)
        guide, = (h for h in hooks if type(h).__name__ in ('SaliencyUpdateHook', 'TokenLossHook'))
        begin = 41 if path.name.startswith('mae-amt-as-released_') else 40
        assert guide.begin == begin
        assert type(guide).__name__ == 'TokenLossHook' or guide.interval == 40


def test_the_authors_code_differs_in_what_its_config_says():
    released = next(path for path in FILES if path.name.startswith('mae-amt-as-released_'))
    paper, theirs = (resolve(path)[0] for path in (
        Path(str(released).replace('mae-amt-as-released_', 'mae-amt_')), released))
    assert paper.model.head.norm_pix and not theirs.model.head.norm_pix
    assert theirs.data_preprocessor.type == 'amt_mm.ReleasedWeights'
    assert theirs.custom_hooks == [dict(type='amt_mm.SaliencyUpdateHook', begin=41, interval=40,
                                        normalize='head')]

    def decayed(cfg):
        """Parameters, of more than one axis and of those with weight decay."""
        cfg = deepcopy(cfg)  # others read it too
        cfg.model.backbone.arch = 'deit-tiny'
        model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
        optimizer = {**cfg.optim_wrapper, 'type': 'OptimWrapper'}
        optimizer.pop('loss_scale')
        groups = build_optim_wrapper(model, optimizer).param_groups
        learnt = {id(each) for group in groups if group['weight_decay'] for each in group['params']}
        return ({name for name, each in model.named_parameters()
                 if each.requires_grad and each.dim() > 1},
                {name for name, each in model.named_parameters() if id(each) in learnt})

    matrices, found = decayed(theirs)
    assert found == matrices  # as timm's add_weight_decay, which their code calls
    matrices, found = decayed(paper)
    assert found == matrices - {'backbone.cls_token', 'neck.mask_token'} != matrices


@pytest.mark.parametrize('batch', [2048, 96, 8])
def test_simmims_rate_falls_to_a_twentieth_whatever_the_batch(batch):
    """The lowest rate follows the rate that --auto-scale-lr sets."""
    cfg = Config.fromfile(CONFIGS / '_base_' / 'schedules' / 'simmim_adamw-coslr-200e.py')
    rate = cfg.optim_wrapper.optimizer.lr * batch / cfg.auto_scale_lr.base_batch_size
    wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate))
    schedulers = [PARAM_SCHEDULERS.build({**stage, 'optimizer': wrapper, 'epoch_length': 3})
                  for stage in cfg.param_scheduler]
    seen = []
    for _ in range(cfg.train_cfg.max_epochs * 3):
        seen.append(wrapper.get_lr()['lr'][0])
        for scheduler in schedulers:
            scheduler.step()
    assert max(seen) == pytest.approx(rate)
    assert seen[-1] == pytest.approx(.05 * rate, rel=1e-2)
