"""Every config of a protocol on a data set resolves, builds, and is fit for its data set."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmpretrain.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS

import amt_mm.registry  # noqa: F401, I001  (before mmpretrain: makes torchvision importable)
from amt_mm.apis.evaluation import find_config, protocol_of
from amt_mm.checkpoints.describe import Pretraining
from amt_mm.config import apply_overlay
from amt_mm.evaluation.paper import TABLE_1
from amt_mm.names import BACKGROUND_DATA, DATA, MASKED_DATA, VIDEO_DATA
from amt_mm.protocols import PROTOCOLS
from amt_mm.registry import LOOPS

CONFIGS = Path(__file__).parents[1] / 'configs' / 'benchmarks'
FILES = sorted(path.relative_to(CONFIGS) for path in CONFIGS.rglob('*.py'))
# Protocols with a config for each data set.
OWN_CONFIGS = ('knn', 'lowshot', 'linear', 'linear4', 'finetune')
CLASSES = {'cifar10': 10, 'cifar100': 100, 'tiny-imagenet': 200, 'stl10': 10, 'in1k': 1000,
           'folder': 10, 'clothing': 10, 'cifar10-jpg': 10, 'in9': 1000}


@pytest.fixture(params=FILES, ids=str)
def cfg(request):
    init_default_scope('mmpretrain')
    cfg = apply_overlay(Config.fromfile(CONFIGS / request.param))
    cfg.path = request.param
    return cfg


@pytest.mark.slow
def test_config_builds(cfg):
    with torch.device('meta'):
        model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    data = cfg.path.stem.rpartition('_')[2]
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    protocol = cfg.path.parts[0]
    entry = PROTOCOLS[cfg.protocol]
    assert ('train_cfg' in cfg) == (entry.trains is not None)
    if entry.trains == 'head':
        assert trained <= {name for name, _ in model.named_parameters() if name[:4] == 'head'}
    if protocol in ('linear', 'finetune'):
        assert model.head.num_classes == CLASSES[data]
        blocks = 4 if '-last4-' in cfg.path.name else 1
        assert model.head.in_channels == blocks * model.backbone.embed_dims
        stages = cfg.param_scheduler
        assert stages[0].get('begin', 0) == 0 and stages[-1].end == cfg.train_cfg.max_epochs
        assert all(a['end'] == b['begin'] for a, b in zip(stages, stages[1:], strict=False))
        metric = METRICS.build(cfg.val_evaluator)
        assert data == 'in9' or metric.topk == (1, 5)
    else:
        assert not model.with_head
        assert LOOPS.get(cfg.test_cfg.type)
    if '-last4-' in cfg.path.name:
        assert trained == {'head.fc.weight', 'head.fc.bias'} and not model.with_neck
        assert cfg.optim_wrapper.optimizer.type == 'SGD'
        assert cfg.auto_scale_lr.base_batch_size % cfg.train_dataloader.batch_size == 0
    elif protocol == 'linear':
        assert trained == {'head.layers.head.weight', 'head.layers.head.bias'}
        assert not model.neck.bn.affine
    if protocol == 'finetune':
        # All but the fixed tables that some transformers carry.
        assert trained == {name for name, _ in model.named_parameters()}
    for hook in [*cfg.custom_hooks, cfg.default_hooks.pretrained]:
        HOOKS.build(hook)


@pytest.mark.slow
@pytest.mark.parametrize('processes', [8, 1])
@pytest.mark.parametrize('name', ['xb128-coslr-100e_in1k', 'xb128-released-coslr-100e_in1k',
                                  'xb128-1percent-coslr-100e_folder',
                                  'xb256-simmim-coslr-100e_in1k'])
def test_fine_tuning_ends_at_the_lowest_rate_of_mae_for_each_layer(name, processes):
    """1e-6 by the layer's scale, in MAE's adjust_learning_rate; in proportion to the batch."""
    init_default_scope('mmpretrain')
    cfg = apply_overlay(Config.fromfile(CONFIGS / f'finetune/vit-base-p16_8{name}.py'))
    cfg.model.backbone.arch = 'deit-tiny'
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    peak, decay = (cfg.optim_wrapper.optimizer.lr,
                   cfg.optim_wrapper.paramwise_cfg.layer_decay_rate)
    groups = build_optim_wrapper(model, {**cfg.optim_wrapper, 'type': 'OptimWrapper'}).param_groups
    scales = sorted({round(group['lr'] / peak, 12) for group in groups})
    assert scales == pytest.approx([decay**depth for depth in reversed(range(14))])
    optimizer = torch.optim.SGD([
        dict(params=[torch.zeros(1)], lr=peak * scale * processes / 8) for scale in scales])
    schedules = [PARAM_SCHEDULERS.build(
        dict(schedule, optimizer=optimizer, epoch_length=20)) for schedule in cfg.param_scheduler]
    for _ in range(2000):
        optimizer.step()
        for schedule in schedules:
            schedule.step()
    for group, scale in zip(optimizer.param_groups, scales, strict=True):
        share = scale * processes / 8
        assert group['lr'] == pytest.approx(1e-6 * share, rel=.01) and group['lr'] < peak * share


def test_fine_tuning_of_the_authors_code_is_on_the_mean_token():
    cfg = apply_overlay(Config.fromfile(
        CONFIGS / 'finetune/vit-base-p16_8xb128-released-coslr-100e_in1k.py'))
    # 1e-3 per 256 images.
    assert cfg.optim_wrapper.optimizer.lr * 256 / cfg.auto_scale_lr.base_batch_size == 1e-3
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == .75
    cfg.model.backbone.arch = 'deit-tiny'
    vit = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor}).eval().backbone
    images = torch.randn(2, 3, 224, 224)
    tokens = []
    vit.layers[-1].register_forward_hook(lambda module, args, output: tokens.append(output))
    torch.nn.init.normal_(vit.ln2.weight)
    feature, = vit(images)
    # MAE's forward_features: mean of the patches of the last block, then the norm.
    mean = tokens[0][:, 1:].mean(dim=1)
    torch.testing.assert_close(feature, vit.ln2(mean))


@pytest.mark.slow
def test_every_loader_has_images_and_a_pipeline_that_builds(cfg):
    loaders = [cfg.test_dataloader]
    if 'train_cfg' in cfg:
        loaders += [cfg.train_dataloader, cfg.val_dataloader]
        assert cfg.train_dataloader.dataset.get('split', 'train') == 'train'
    elif PROTOCOLS[cfg.protocol].labels != 'videos':
        loaders.append(cfg.test_cfg.train_dataloader)
    for loader in loaders:
        for dataset in loader.dataset.get('datasets', [loader.dataset]):
            assert DATASETS.get(dataset.type)
            dataset = dataset.get('dataset', dataset)  # of few_labels
            assert dataset.data_root.startswith('data/')
            transforms = [TRANSFORMS.build(transform) for transform in dataset.pipeline]
            assert type(transforms[-1]).__name__ == 'PackInputs'


@pytest.mark.slow
def test_the_whole_of_table_1_is_reachable():
    names = {str(path) for path in FILES}
    for data in DATA:
        for protocol, entry in PROTOCOLS.items():
            if entry.labels in ('masks', 'backgrounds', 'videos'):
                continue
            found, options = find_config(protocol, data, Pretraining(None, None, {}, None))
            # The others use the config for folders, with these images.
            assert (not options) == (protocol in OWN_CONFIGS)
            assert options or not found.stem.endswith('_folder')
            assert protocol_of(found) == protocol
            assert found.relative_to(CONFIGS) in FILES
            assert ('-last4-' in found.name) == (protocol == 'linear4')
        assert f'finetune/vit-base-p16_8xb256-simmim-coslr-100e_{data}.py' in names
    for figures in TABLE_1.values():
        assert set(figures) == set(DATA)


@pytest.mark.parametrize(('labels', 'sets'), [('masks', MASKED_DATA),
                                              ('backgrounds', BACKGROUND_DATA),
                                              ('videos', VIDEO_DATA)])
def test_data_sets_of_other_labels_have_a_config_for_each_protocol_on_them(labels, sets):
    for protocol in (name for name, entry in PROTOCOLS.items() if entry.labels == labels):
        for data in sets:
            found, options = find_config(protocol, data, Pretraining(None, None, {}, None))
            assert not options and found.stem.endswith(f'_{data}')
            assert protocol_of(found) == protocol


def test_heads_quote_the_figures_of_table_1():
    for data in DATA:
        for folder, host, place in (('linear', 'MAE', 0), ('finetune', 'MAE', 1),
                                    ('finetune', 'SimMIM', 1)):
            files = [CONFIGS / path for path in FILES
                     if path.parts[0] == folder and path.stem.endswith(f'_{data}')
                     and '-last4-' not in path.stem
                     and ('simmim' in path.stem) == (host == 'SimMIM')]
            plain = 'MAE' if host == 'MAE' else 'random'
            figures = [TABLE_1[host + recipe][data][place] for recipe in ('', ' + AM', ' + AMT')]
            assert ('{} {}, + AM {}, + AMT {}.'.format(plain, *figures)
                    in files[0].read_text())
