"""The configs of iBOT and AttMask against the recipes of the paper."""

from pathlib import Path

import pytest
import torch
from distillation_toys import ARCH
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import HOOKS, MODELS, TRANSFORMS

import amt_mm.registry  # noqa: F401, I001  (before mmpretrain: makes torchvision importable)
from amt_mm.hooks import TeacherUpdateHook

FOLDER = Path(__file__).parents[1] / 'configs' / 'attmask'
FILES = sorted(path.name for path in FOLDER.glob('*.py'))
STRATEGIES = {'ibot-block': 'block', 'ibot-random': 'random', 'ibot-amt': 'sampled',
              'ibot-attmask-high': 'high', 'ibot-attmask-hint': 'hint', 'ibot-attmask-low': 'low',
              'dino-attmask-high': 'high', 'dino': None}


@pytest.mark.parametrize('name', FILES)
def test_config_is_the_recipe_that_its_name_says(name):
    cfg = Config.fromfile(FOLDER / name)
    init_default_scope('mmpretrain')
    method, *_ = name.split('_')
    long, part = '300e' in name, '20pct' in name
    with torch.device('meta'):
        model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    assert getattr(model.masking, 'strategy', None) == STRATEGIES[method]
    assert model.patch_weight == (0 if method.startswith('dino') else 1)
    if model.masking:
        assert model.masking.ratio == (.1, .5) and model.masking.gate == .5
    assert model.backbone.embed_dims == 384 and len(model.backbone.layers) == 12
    assert model.head.last_layer.out_features == 8192

    batch = 8 * 100 if long else 4 * 60
    assert cfg.auto_scale_lr.base_batch_size == batch
    assert cfg.train_dataloader.batch_size == (100 if long else 60)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(5e-4 * batch / 256)
    epochs = 300 if long else 100
    assert cfg.train_cfg.max_epochs == epochs
    warm_up, rate, decay = cfg.param_scheduler
    assert (warm_up.end, rate.begin, rate.T_max, rate.end) == (10, 10, epochs - 10, epochs)
    assert (decay.T_max, decay.end, decay.eta_min_ratio) == (epochs, epochs, 10)
    assert cfg.optim_wrapper.optimizer.weight_decay * decay.eta_min_ratio == pytest.approx(.4)

    dataset = cfg.train_dataloader.dataset
    assert dataset.get('first_of_class') == (260 if part else None)
    views = dataset.pipeline[1]
    assert views.num_views == [1, 1, 6 if part else 10]
    scales = [tuple(view[0].crop_ratio_range) for view in views.transforms]
    border = .32 if long else .25
    assert scales == [(border, 1), (border, 1), (.05, border)]
    assert [view[0].scale for view in views.transforms] == [224, 224, 96]
    blurs = [next(t.prob for t in view if t.type == 'GaussianBlur') for view in views.transforms]
    assert blurs == [1, .1, .5]
    assert ['Solarize' in [t.type for t in view] for view in views.transforms] == [0, 1, 0]
    for transform in dataset.pipeline:
        TRANSFORMS.build(transform)
    hooks = [HOOKS.build(cfg.default_hooks[name])
             for name in ('clip', 'last_layer', 'temperature', 'teacher')]
    momentum, = (hook.momentum for hook in hooks if isinstance(hook, TeacherUpdateHook))
    assert momentum == (.99 if part else .996)


@pytest.mark.parametrize('name', FILES)
def test_every_trained_parameter_gets_a_gradient(name):
    """Otherwise, DistributedDataParallel stops at the second step."""
    cfg = Config.fromfile(FOLDER / name)
    init_default_scope('mmpretrain')
    cfg.merge_from_dict({'model.head': dict(out_channels=19, hidden_channels=16)})
    cfg.model.backbone.update(arch=ARCH, img_size=32)
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    views = [*torch.randn(2, 2, 3, 32, 32), *torch.randn(2, 2, 3, 16, 16)]
    sum(model.loss(views).values()).backward()
    assert not [key for key, parameter in model.named_parameters()
                if parameter.requires_grad and parameter.grad is None]


def test_every_recipe_of_the_paper_is_there():
    for wanted in ('ibot-attmask-hint_vit-small-p16_4xb60-amp-coslr-100e_in1k.py',
                   'ibot-attmask-high_vit-small-p16_8xb100-amp-coslr-300e_in1k.py',
                   'ibot-attmask-high_vit-small-p16_4xb60-amp-coslr-100e_in1k-20pct.py'):
        assert wanted in FILES
