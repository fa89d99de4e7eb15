"""A toy data set in memory, a toy MAE and a toy runner, all on odd shapes.

The crop is 40 x 56 pixels with patches of 8: a grid of 5 rows and 7 columns, 35 tokens. At the
paper's .45/.40 that makes 15 masked, 14 thrown and 6 visible; in the warm-up 26 masked, 9 visible.
"""

import copy
import itertools
import os
import signal
from types import SimpleNamespace

# Before torch is loaded. Toys are faster on one thread, and a forked process hangs in the pool of
# threads that it has not inherited.
os.environ['OMP_NUM_THREADS'] = '1'

import numpy as np
import pytest

import amt_mm.registry  # noqa: F401  (makes mmpretrain importable)

# isort: split
import torch
from counted_cases import PASSED
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmpretrain.registry import MODELS

from amt_mm.engine import OverlayRunner

# A shell's job in the background ignores Ctrl-C, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Of MMEngine, before `quick_runners`, for tests that draw.
INITIALIZE_FIG = Visualizer._initialize_fig

CROP = (40, 56)
PATCH = 8
BACKBONE = dict(
    type='amt_mm.AMTMAEViT', img_size=CROP, patch_size=PATCH,
    arch=dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48))
NECK = dict(type='amt_mm.AMTMAEDecoder', decoder_embed_dim=16, decoder_depth=1,
            decoder_num_heads=2, mlp_ratio=2)
HEAD = dict(type='amt_mm.AMTMAEHead', norm_pix=True,
            loss=dict(type='PixelReconstructionLoss', criterion='L2'))
PREPROCESSOR = dict(type='amt_mm.AMTDataPreprocessor', mean=[120.0, 110, 100],
                    std=[60.0, 50, 40], mask_generator=dict(type='amt_mm.AMTMaskGenerator'))


class ToyImages(BaseDataset):
    """Images that lie in memory, one `img` a sample."""

    def __init__(self, images, pipeline, **kwargs):
        self.images = images
        super().__init__(pipeline=pipeline, **kwargs)

    def load_data_list(self):
        return [dict(img=image) for image in self.images]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Let a fuzzing test report how many cases it has seen, from whatever process it runs in."""
    yield
    if cases := PASSED.get(item.function.__name__):
        item.user_properties.append(('cases', cases))


def pytest_terminal_summary(terminalreporter):
    """Say how many cases the fuzzing tests have seen."""
    cases = sum(dict(report.user_properties).get('cases', 0)
                for report in terminalreporter.stats.get('passed', ()))
    if cases:
        terminalreporter.write_line(f'fuzzing: {cases} cases')


def toy_pipeline(flip='horizontal', **crop):
    return [dict(type='amt_mm.RandomResizedCropWithBox',
                 **{'scale': CROP, 'interpolation': 'bicubic', **crop}),
            dict(type='RandomFlip', prob=0.5, direction=flip),
            dict(type='amt_mm.PackInputsWithBox')]


def noise_images(count, seed=0):
    """Images of different, non-square sizes."""
    chance = np.random.RandomState(seed)
    return [chance.randint(0, 256, (44 + 3 * i, 70 - 2 * i, 3), dtype=np.uint8)
            for i in range(count)]


class PlanRecorder(Hook):
    """What the model was given in each step."""

    def __init__(self):
        self.steps = []

    def before_train(self, runner):
        model = getattr(runner.model, 'module', runner.model)

        def record(_, args, kwargs):
            plan, samples = kwargs['plan'], kwargs['data_samples']
            store = model.data_preprocessor.store
            self.steps.append(dict(
                epoch=runner.epoch, iter=runner.iter, map_step=store and store.step,
                sample_idx=[s.sample_idx for s in samples],
                crop_box=[s.crop_box for s in samples],
                flip=[s.get('flip_direction') for s in samples],
                masked=plan.masked.clone(), thrown=plan.thrown.clone(),
                visible=plan.visible.clone()))

        model.register_forward_pre_hook(record, with_kwargs=True)


@pytest.fixture(scope='session', autouse=True)
def quick_runners():
    """Spare what takes longer than a toy run and is no part of it."""
    with pytest.MonkeyPatch.context() as patch:
        # Asks every compiler of the machine for its version.
        patch.setattr(Runner, '_log_env', lambda *args: None)
        # Makes figures to draw images on, of which a run of ours has none.
        patch.setattr(Visualizer, '_initialize_fig',
                      lambda *args: (None, SimpleNamespace(get_dpi=lambda: 100), None))
        yield


@pytest.fixture(autouse=True)
def scope():
    # Runs in this process may leave another one.
    current = DefaultScope.get_current_instance()
    if current is None or current.scope_name != 'mmpretrain':
        init_default_scope('mmpretrain')


@pytest.fixture
def toy_images():
    """The factory ``toy_images(images or count, pipeline=..., **BaseDataset arguments)``."""

    def make(images=7, pipeline=None, **kwargs):
        images = noise_images(images) if isinstance(images, int) else images
        # MMEngine collects garbage to serialise, which takes longer than a toy run.
        return ToyImages(images, toy_pipeline() if pipeline is None else pipeline,
                         **{'serialize_data': False, **kwargs})

    return make


@pytest.fixture
def toy_mae():
    """The factory ``toy_mae(seed=0, norm_pix=True, **changes)`` of the model or its config."""

    def make(seed=0, build=True, backbone=(), neck=(), head=(), data_preprocessor=(), **model):
        cfg = copy.deepcopy(dict(
            model, type='amt_mm.AMTMAE', backbone={**BACKBONE, **dict(backbone)},
            neck={**NECK, **dict(neck)}, head={**HEAD, **dict(head)},
            data_preprocessor={**PREPROCESSOR, **dict(data_preprocessor)}))
        if not build:
            return cfg
        torch.manual_seed(seed)
        model = MODELS.build(cfg)
        # Random everywhere: with MAE's own start, zero biases would hide a forgotten one.
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn_like(parameter) * 0.2)
        return model

    return make


def save_checkpoint(path, state, **config):
    """Save weights with the config that describes them, as a run does."""
    torch.save(dict(state_dict=state, meta=dict(cfg=Config(config).pretty_text)), path)
    return path


@pytest.fixture
def checkpoint(tmp_path, toy_mae):
    """A checkpoint of the toy MAE for images of 40 x 40, with what describes its encoder."""
    changes = dict(img_size=40)
    whole = toy_mae(build=False, backbone=changes)
    return save_checkpoint(tmp_path / 'epoch_3.pth', toy_mae(backbone=changes).state_dict(),
                           model={part: whole[part] for part in ('type', 'backbone')})


@pytest.fixture
def toy_runner(tmp_path, toy_images, toy_mae):
    """The factory of runners: 7 samples in batches of 3, so that the last batch holds 1."""
    names = itertools.count()

    def make(work_dir='run', hooks=(), dataset=None, epochs=4, loader=(), seed=0,
             kind=OverlayRunner, **changes):
        recorder = PlanRecorder()
        settings = dict(
            model=toy_mae(build=False), work_dir=str(tmp_path / work_dir),
            train_dataloader={
                **dict(batch_size=3, num_workers=0, dataset=dataset or toy_images(),
                       sampler=dict(type='DefaultSampler', shuffle=True),
                       collate_fn=dict(type='default_collate')), **dict(loader)},
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)),
            default_hooks=dict(logger=None, checkpoint=dict(type='CheckpointHook', interval=1)),
            custom_hooks=[recorder, *hooks], randomness=dict(seed=seed),
            default_scope='mmpretrain', log_level='WARNING',
            # MMEngine shares loggers and visualizers between runners of one name.
            experiment_name=f'{os.path.basename(tmp_path)}-{next(names)}')
        runner = kind(**{**settings, **changes})
        runner.recorder = recorder
        return runner

    return make
