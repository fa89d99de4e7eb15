"""Every detection config builds, names its checkpoint, and quotes Table 3."""

from pathlib import Path

import pytest
import torch
from detection_toys import toy_content, write_content
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope, init_default_scope

import amt_mm.registry  # noqa: F401
from amt_mm.evaluation.paper import TABLE_3
from amt_mm.registry import DATASETS, HOOKS, METRICS

CONFIGS = Path(__file__).parents[2] / 'configs' / 'mmdet'
FILES = sorted(path.relative_to(CONFIGS) for path in CONFIGS.rglob('*.py'))
ROWS = {'scratch': 'random init', 'mae': 'MAE', 'mae-am': 'MAE + AM', 'mae-amt': 'MAE + AMT'}
COMMON = {'coco': 'mask-rcnn_vitdet-b_{}lsj-1024_8xb2-amp-90k_coco.py',
          'lvis': 'mask-rcnn_vitdet-b_{}lsj-1024_8xb2-amp-75k_lvis-v1.py'}


@pytest.fixture(autouse=True)
def mmdet_scope():
    before = DefaultScope.get_current_instance()
    init_default_scope('mmdet')
    yield
    init_default_scope(before.scope_name)


@pytest.mark.slow
@pytest.mark.parametrize('path', FILES, ids=str)
def test_config_builds(path):
    from mmdet.registry import MODELS, TRANSFORMS
    cfg = Config.fromfile(CONFIGS / path)
    assert cfg.default_scope == 'mmdet'
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    wrapper = cfg.optim_wrapper.copy()
    if wrapper.type == 'AmpOptimWrapper':  # needs a GPU
        wrapper.update(type='OptimWrapper')
        wrapper.pop('loss_scale')
    lrs = {group['lr'] for group in build_optim_wrapper(model, wrapper).param_groups}
    # One rate per depth: layers, embeddings, and everything after the backbone.
    assert len(lrs) == model.backbone.num_layers + 2
    assert max(lrs) == cfg.optim_wrapper.optimizer.lr
    classes = {'coco': 80, 'lvis': 1203, 'mini': 80}[path.parts[0]]
    # Three of each in a cascade.
    heads = [module for module in model.roi_head.modules() if hasattr(module, 'predict_by_feat')]
    assert [head.num_classes for head in heads] == [classes] * (6 if 'cascade' in path.stem else 2)
    for hook in [*cfg.custom_hooks, cfg.default_hooks.pretrained]:
        HOOKS.build(hook)
    train = cfg.train_dataloader.dataset
    for dataset in (train.get('dataset', train), cfg.val_dataloader.dataset,
                    cfg.test_dataloader.dataset):
        assert DATASETS.get(dataset.type)
        assert dataset.data_root.startswith('data/')
        pipeline = [TRANSFORMS.build(transform) for transform in dataset.pipeline]
        assert type(pipeline[-1]).__name__ == 'PackDetInputs'
        # The model pads to the size that the pipeline fits images into.
        size, = {transform.scale for transform in pipeline if hasattr(transform, 'scale')}
        assert size == (cfg.model.data_preprocessor.pad_size_divisor,) * 2
        assert model.backbone.img_size == size
    for evaluator, loader in ((cfg.val_evaluator, cfg.val_dataloader),
                              (cfg.test_evaluator, cfg.test_dataloader)):
        assert METRICS.get(evaluator.type)
        assert evaluator.ann_file == f'{loader.dataset.data_root}/{loader.dataset.ann_file}'
    steps = cfg.param_scheduler[-1]
    assert steps.end == cfg.train_cfg.max_iters
    if path.parts[0] == 'mini':  # has its own schedule
        assert 0 < steps.milestones[0] < steps.milestones[1] < steps.end
    else:
        assert steps.milestones == [round(steps.end * 8 / 9), round(steps.end * 26 / 27)]
    assert cfg.train_cfg.max_iters % cfg.train_cfg.val_interval == 0


# Settings of ViTDet for ViT-B (Li et al., ECCV 2022, Appendix A.2) or, unchanged, of detectron2's
# Mask R-CNN, in detectron2's terms: anchor sides in pixels, and a weight that multiplies each of a
# box's four offsets, where mmdet divides by a standard deviation.
STRIDES = [4, 8, 16, 32, 64]
ANCHOR_SIDES = [32, 64, 128, 256, 512]
RPN_WEIGHTS, ROI_WEIGHTS = [1, 1, 1, 1], [10, 10, 5, 5]
VITDET = {
    'rpn_head.anchor_generator.strides': STRIDES,
    'rpn_head.anchor_generator.scales': [ANCHOR_SIDES[0] / STRIDES[0]],
    'rpn_head.anchor_generator.ratios': [.5, 1, 2],
    'rpn_head.num_convs': 2,
    'rpn_head.bbox_coder.target_means': [0, 0, 0, 0],
    'rpn_head.bbox_coder.target_stds': [1 / weight for weight in RPN_WEIGHTS],
    'rpn_head.loss_cls': dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1),
    'rpn_head.loss_bbox': dict(type='L1Loss', loss_weight=1),
    'roi_head.bbox_roi_extractor.featmap_strides': STRIDES[:4],
    'roi_head.bbox_roi_extractor.roi_layer': dict(
        type='RoIAlign', output_size=7, sampling_ratio=0),
    'roi_head.mask_roi_extractor.featmap_strides': STRIDES[:4],
    'roi_head.mask_roi_extractor.roi_layer': dict(
        type='RoIAlign', output_size=14, sampling_ratio=0),
    'roi_head.bbox_head.type': 'Shared4Conv1FCBBoxHead',
    'roi_head.bbox_head.fc_out_channels': 1024,
    'roi_head.bbox_head.reg_class_agnostic': False,
    'roi_head.bbox_head.bbox_coder.target_means': [0, 0, 0, 0],
    'roi_head.bbox_head.bbox_coder.target_stds': [1 / weight for weight in ROI_WEIGHTS],
    'roi_head.bbox_head.loss_cls': dict(
        type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1),
    'roi_head.bbox_head.loss_bbox': dict(type='L1Loss', loss_weight=1),
    'roi_head.mask_head.num_convs': 4,
    'roi_head.mask_head.loss_mask': dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1),
    'train_cfg.rpn.assigner': dict(
        type='MaxIoUAssigner', pos_iou_thr=.7, neg_iou_thr=.3, min_pos_iou=0,
        match_low_quality=True, ignore_iof_thr=-1),
    'train_cfg.rpn.sampler': dict(
        type='RandomSampler', num=256, pos_fraction=.5, neg_pos_ub=-1,
        add_gt_as_proposals=False),
    'train_cfg.rpn_proposal': dict(
        nms_pre=2000, max_per_img=1000, nms=dict(type='nms', iou_threshold=.7), min_bbox_size=0),
    'train_cfg.rcnn.assigner': dict(
        type='MaxIoUAssigner', pos_iou_thr=.5, neg_iou_thr=.5, min_pos_iou=.5,
        match_low_quality=False, ignore_iof_thr=-1),
    'train_cfg.rcnn.sampler': dict(
        type='RandomSampler', num=512, pos_fraction=.25, neg_pos_ub=-1,
        add_gt_as_proposals=True),
    'train_cfg.rcnn.mask_size': 28,
    'test_cfg.rpn': dict(
        nms_pre=1000, max_per_img=1000, nms=dict(type='nms', iou_threshold=.7), min_bbox_size=0),
    'test_cfg.rcnn.nms': dict(type='nms', iou_threshold=.5),
    'backbone.window_size': 14,
    'backbone.drop_path_rate': .1,
}
VITDET_OPTIMISER = dict(type='AdamW', lr=1e-4, betas=(.9, .999), weight_decay=.1)
VITDET_LAYER_DECAY = .7


@pytest.mark.parametrize('data', COMMON)
def test_settings_match_vitdet(data):
    cfg = Config.fromfile(CONFIGS / data / COMMON[data].format(''))
    found = {}
    for key in VITDET:
        node = cfg.model
        for part in key.split('.'):
            node = node[part]
        found[key] = node
    assert found == VITDET
    assert cfg.optim_wrapper.optimizer == VITDET_OPTIMISER
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == VITDET_LAYER_DECAY


# Of ViTDet's code: configs/COCO of its project, as (drop path, layer decay, iterations).
SIZES = {'l': (.4, .8, 184375), 'h': (.5, .9, 184375 * 3 // 4)}


@pytest.mark.parametrize('size', SIZES)
def test_larger_ones_differ_from_vit_b_where_vitdets_do(size):
    path, = (CONFIGS / 'coco').glob(f'mask-rcnn_vitdet-{size}_*.py')
    cfg, base = Config.fromfile(path), Config.fromfile(CONFIGS / 'coco' / COMMON['coco'].format(''))
    drop_path, decay, iterations = SIZES[size]
    assert cfg.model.backbone.drop_path_rate == drop_path
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == decay
    assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters == iterations
    assert cfg.auto_scale_lr.base_batch_size == 64
    assert cfg.optim_wrapper.optimizer == base.optim_wrapper.optimizer
    for other in (cfg, base):
        for name in ('arch', 'drop_path_rate'):
            other.model.backbone.pop(name)
        other.model.neck.pop('in_channels')
    assert cfg.model == base.model
    from mmdet.registry import MODELS
    with torch.device('meta'):
        model = MODELS.build(Config.fromfile(path).model)
    # 5, 11, 17, 23 and 7, 15, 23, 31.
    depth = model.backbone.num_layers
    assert [i for i, layer in enumerate(model.backbone.layers) if not layer.window_size] == [
        depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]
    wrapper = dict(cfg.optim_wrapper, type='OptimWrapper')
    wrapper.pop('loss_scale')
    groups = build_optim_wrapper(model, wrapper).param_groups
    decays = {group['weight_decay'] for group in groups}
    # For ViT-H, ViTDet spares no parameter.
    assert decays == ({.1} if size == 'h' else {0., .1})


def test_the_cascade_is_vitdets():
    path, = (CONFIGS / 'coco').glob('cascade-*.py')
    cfg, base = Config.fromfile(path), Config.fromfile(CONFIGS / 'coco' / COMMON['coco'].format(''))
    head, stage = base.model.roi_head.bbox_head, base.model.train_cfg.rcnn
    head.reg_class_agnostic = True
    for found, rcnn, weights, iou in zip(
            cfg.model.roi_head.bbox_head, cfg.model.train_cfg.rcnn,
            ((10, 5), (20, 10), (30, 15)), (.5, .6, .7), strict=True):
        stds = [1 / weight for weight in weights for _ in range(2)]
        assert found == {**head, 'bbox_coder': {**head.bbox_coder, 'target_stds': stds}}
        thresholds = dict.fromkeys(('pos_iou_thr', 'neg_iou_thr', 'min_pos_iou'), iou)
        assert rcnn == {**stage, 'assigner': {**stage.assigner, **thresholds}}
    for other in (cfg, base):
        other.model.roi_head = dict(mask_head=other.model.roi_head.mask_head)
        other.model.train_cfg.pop('rcnn')
    assert cfg.model == {**base.model, 'type': 'CascadeRCNN'}


@pytest.mark.parametrize('data', COMMON)
def test_anchors_match_vitdet(data):
    """As built: five sides, each with three aspect ratios (height over width) of equal area."""
    from mmdet.registry import TASK_UTILS
    cfg = Config.fromfile(CONFIGS / data / COMMON[data].format(''))
    anchors = TASK_UTILS.build(cfg.model.rpn_head.anchor_generator).base_anchors
    for side, level in zip(ANCHOR_SIDES, anchors, strict=True):
        width, height = (level[:, 2:] - level[:, :2]).T
        torch.testing.assert_close(width * height, torch.full((3,), side ** 2.))
        torch.testing.assert_close(height / width, torch.tensor([.5, 1, 2]))


@pytest.mark.parametrize('data', COMMON)
@pytest.mark.parametrize('row', ROWS)
def test_rows_differ_in_the_checkpoint_only(data, row):
    common = Config.fromfile(CONFIGS / data / COMMON[data].format(''))
    path = CONFIGS / data / COMMON[data].format(f'{row}_')
    cfg = Config.fromfile(path)
    assert common.default_hooks.pretrained.checkpoint == ''
    checkpoint = cfg.default_hooks.pretrained.checkpoint
    assert (checkpoint == 'none') == (row == 'scratch')
    if row != 'scratch':  # where tools/train.py writes it for an existing config
        name = Path(checkpoint).parent.name
        assert (CONFIGS.parent / 'mae' / f'{name}.py').is_file()
        assert name.startswith(f'{row}_') and Path(checkpoint).name == 'epoch_400.pth'
    cfg.default_hooks.pretrained.checkpoint = ''
    assert cfg.to_dict() == common.to_dict()


@pytest.mark.parametrize('data', COMMON)
@pytest.mark.parametrize('row', ROWS)
def test_heads_quote_table_3(data, row):
    head = (CONFIGS / data / COMMON[data].format(f'{row}_')).read_text().partition('_base_')[0]
    box, box50, box75, mask, mask50, mask75 = TABLE_3[ROWS[row]][data]
    star = r'(*)' if (data, row) == ('coco', 'mae-amt') else ''
    assert f'box AP {box}, AP50 {box50}, AP75 {box75};' in head
    assert f'mask AP {mask}{star}, AP50 {mask50}, AP75 {mask75}.' in head


def test_lvis_settings():
    cfg = Config.fromfile(CONFIGS / 'lvis' / COMMON['lvis'].format(''))
    assert cfg.train_dataloader.dataset.oversample_thr == 1e-3
    assert (cfg.model.test_cfg.rcnn.score_thr, cfg.model.test_cfg.rcnn.max_per_img) == (1e-4, 300)
    assert cfg.model.roi_head.bbox_head.loss_cls.type == 'CrossEntropyLoss'
    federated = Config.fromfile(CONFIGS / 'lvis' / COMMON['lvis'].format('federated_'))
    assert federated.model.roi_head.bbox_head.loss_cls.type == 'amt_mm.FederatedLoss'
    # As ViTDet; the number of detections stays LVIS's.
    assert federated.model.test_cfg.rcnn == {**cfg.model.test_cfg.rcnn, 'score_thr': .02}
    extra = [hook for hook in federated.custom_hooks if hook not in cfg.custom_hooks]
    assert [hook.type for hook in extra] == ['amt_mm.FederatedCountsHook']
    assert all(hook in federated.custom_hooks for hook in cfg.custom_hooks)


def test_a_batch_without_objects_learns(tmp_path):
    """Jittered crops may be empty: all losses exist, and every parameter has a gradient."""
    from mmdet.registry import MODELS
    from mmengine.dataset import pseudo_collate
    cfg = Config.fromfile(CONFIGS / FILES[-1])
    assert FILES[-1].parts[0] == 'mini'
    cfg.model.backbone.img_size = cfg.model.data_preprocessor.pad_size_divisor = 64
    cfg.model.roi_head.bbox_head.conv_out_channels = 16
    cfg.model.roi_head.mask_head.conv_out_channels = 16
    dataset = DATASETS.build(dict(
        type='amt_mm.CocoInstances', data_root=str(tmp_path),
        ann_file=write_content(tmp_path, toy_content()).name, data_prefix=dict(img='train2017'),
        pipeline=[*cfg.train_pipeline[:2], cfg.train_pipeline[-1]]))
    assert not dataset.get_data_info(3)['instances']
    model = MODELS.build(cfg.model).train()
    batch = model.data_preprocessor(pseudo_collate([dataset[3], dataset[3]]), True)
    losses, values = model.parse_losses(model(**batch, mode='loss'))
    losses.backward()
    assert losses.isfinite()
    assert values['loss_cls'] > 0 and values['loss_bbox'] == values['loss_mask'] == 0
    assert not [name for name, p in model.named_parameters() if p.grad is None]
