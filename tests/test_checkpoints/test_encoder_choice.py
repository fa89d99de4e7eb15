"""Teacher or student: which one is loaded, evaluated and reported, wherever one is loaded."""

import pytest
import torch
from conftest import save_checkpoint
from labelled_toys import LabelledImages
from mmengine.config import Config
from mmengine.registry import DATASETS
from mmpretrain.models import VisionTransformer
from mmpretrain.registry import MODELS
from released_ibot import ARCH, PATCH, SIZE, release
from torch import nn

from amt_mm.apis import judging
from amt_mm.checkpoints import choose_encoder
from amt_mm.checkpoints.describe import describe
from amt_mm.checkpoints.load_backbone import load_backbone
from amt_mm.config import apply_overlay
from amt_mm.errors import InputError
from amt_mm.evaluation.judge import judge
from amt_mm.hooks import PretrainedBackboneHook
from amt_mm.shipped import configs_folder

pytestmark = pytest.mark.filterwarnings('ignore:.*weight_norm.*:FutureWarning')

IBOT = dict(
    type='amt_mm.IBOT',
    backbone=dict(type='amt_mm.IBOTViT', img_size=SIZE, patch_size=PATCH, arch=ARCH),
    head=dict(type='amt_mm.DistillationHead', out_channels=19, hidden_channels=16,
              bottleneck_channels=8),
    masking=dict(type='amt_mm.CropMasking', strategy='high'))
PREPROCESSOR = dict(type='SelfSupDataPreprocessor', mean=[120.0, 110, 100], std=[60.0, 50, 40])
CHOICES = pytest.mark.parametrize('encoder', [None, 'teacher', 'student'])


def ours(path):
    torch.manual_seed(0)
    model = MODELS.build({**IBOT, 'data_preprocessor': PREPROCESSOR})
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=.3)
    save_checkpoint(path, model.state_dict(), model=IBOT, data_preprocessor=PREPROCESSOR)
    return model.eval()


def target(kind='VisionTransformer', **kwargs):
    model = nn.Module()
    model.backbone = MODELS.build(dict(type=kind, arch=ARCH, img_size=SIZE, patch_size=PATCH,
                                       **kwargs))
    model.backbone.eval()  # mmpretrain's returns nothing
    return model


def test_names():
    names = ['backbone.a', 'head.b', 'teacher.backbone.a', 'teacher.head.b', 'cls_center.mean']
    teacher = {'backbone.a': 'teacher.backbone.a', 'head.b': 'teacher.head.b'}
    assert choose_encoder(names) == choose_encoder(names, 'teacher') == (teacher, 'teacher')
    assert choose_encoder(names, 'student') == (
        {name: name for name in ('backbone.a', 'head.b', 'cls_center.mean')}, 'student')
    assert choose_encoder(names[:2]) == ({name: name for name in names[:2]}, None)


@CHOICES
@torch.no_grad()
def test_our_checkpoint(tmp_path, encoder):
    source, model, images = ours(tmp_path / 'a.pth'), target(), torch.randn(2, 3, SIZE, SIZE)
    report = load_backbone(model, tmp_path / 'a.pth', encoder)
    wanted = source.backbone if encoder == 'student' else source.teacher.backbone
    torch.testing.assert_close(model.backbone(images)[0], wanted.encode(images)[:, 0])
    assert report.encoder == (encoder or 'teacher') and not report.missing
    assert f'entries of the backbone loaded from the {encoder or "teacher"}' in str(report)
    other = 'teacher.backbone.cls_token' if encoder == 'student' else 'student.backbone.cls_token'
    assert other in report.left_out and 'cls_center.mean' in report.left_out


@CHOICES
@pytest.mark.parametrize('method', ['ibot', 'dino'])
@torch.no_grad()
def test_released_checkpoints(tmp_path, encoder, method):
    student, teacher = release(tmp_path / 'a.pth', method)
    model, images = target('amt_mm.LastBlocksViT', last_blocks=2), torch.randn(2, 3, SIZE, SIZE)
    report = load_backbone(model, tmp_path / 'a.pth', encoder)
    wanted = (student if encoder == 'student' else teacher).backbone.tokens(images)[:, 0]
    torch.testing.assert_close(model.backbone(images)[0][:, 24:], wanted, atol=1e-5, rtol=1e-5)
    assert f'({method} naming)' in str(report) and not report.missing


def test_a_missing_teacher_is_refused(tmp_path):
    state = target().state_dict()
    torch.save({'state_dict': state}, tmp_path / 'a.pth')
    with pytest.raises(InputError, match='a.pth: it holds no teacher') as error:
        load_backbone(target(), tmp_path / 'a.pth', 'teacher')
    assert '\n' not in str(error.value)
    with pytest.raises(InputError, match='a.pth: it holds no teacher'):
        describe(tmp_path / 'a.pth', 'teacher')
    with pytest.raises(InputError, match='--encoder teacher: random weights'):
        describe('none', 'teacher')
    assert load_backbone(target(), tmp_path / 'a.pth', 'student').encoder is None
    with pytest.raises(InputError, match="PretrainedBackboneHook.encoder='ema' is unknown"):
        PretrainedBackboneHook('a.pth', 'ema')


@pytest.mark.parametrize('protocol', ['finetune', 'linear', 'knn'])
@CHOICES
def test_every_protocol_starts_from_it(tmp_path, protocol, encoder):
    """Fine-tuning, too: transfer from a teacher of ours."""
    source = ours(tmp_path / 'a.pth')
    cfg = Config.fromfile(configs_folder() / f'_base_/protocols/{protocol}.py')
    cfg.model.backbone.update(arch=ARCH, img_size=SIZE, patch_size=PATCH)
    if 'head' in cfg.model:
        cfg.model.head.num_classes = 5
    model = MODELS.build({**cfg.model, 'data_preprocessor': {
        **cfg.data_preprocessor, 'num_classes': 5}})

    class Runner:
        iter, _load_from, _resume, logger = 0, None, False, None

    Runner.model = model
    hook = {**cfg.default_hooks.pretrained, 'checkpoint': str(tmp_path / 'a.pth')}
    hook.pop('type')
    PretrainedBackboneHook(**hook, encoder=encoder).before_train(Runner)
    wanted = source.backbone if encoder == 'student' else source.teacher.backbone
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, wanted.state_dict()[name])


@pytest.mark.slow
@pytest.mark.parametrize(('config', 'recipe'), [
    ('ibot-block_vit-small-p16_4xb60-amp-coslr-100e_in1k', 'iBOT'),
    ('ibot-random_vit-small-p16_4xb60-amp-coslr-100e_in1k-20pct', 'iBOT, random masks'),
    ('ibot-attmask-hint_vit-small-p16_4xb60-amp-coslr-100e_in1k', 'iBOT + AttMask-Hint'),
    ('ibot-amt_vit-small-p16_4xb60-amp-coslr-100e_in1k', 'iBOT + AMT'),
    ('dino_vit-small-p16_4xb60-amp-coslr-100e_in1k', 'DINO'),
    ('dino-attmask-high_vit-small-p16_4xb60-amp-coslr-100e_in1k', 'DINO + AttMask-High')])
def test_describe(tmp_path, config, recipe):
    cfg = apply_overlay(Config.fromfile(configs_folder() / f'attmask/{config}.py'))
    with torch.device('meta'):
        encoder = VisionTransformer('deit-small', 224, 16)
    state = {f'{prefix}backbone.{key}': torch.zeros(value.shape)
             for prefix in ('', 'teacher.') for key, value in encoder.state_dict().items()}
    save_checkpoint(tmp_path / 'a.pth', state, **cfg)
    found = describe(tmp_path / 'a.pth', 'student')
    assert (found.recipe, found.image_size) == (recipe, 224)
    assert found.backbone == {'arch': 'deit-small', 'patch_size': 16} and found.row is None


@pytest.mark.parametrize(('method', 'host'), [('ibot', 'iBOT'), ('dino', 'DINO')])
def test_the_host_of_a_release_is_detected(tmp_path, monkeypatch, method, host):
    monkeypatch.setitem(VisionTransformer.arch_zoo, 'toy', ARCH)
    release(tmp_path / 'a.pth', method)
    found = describe(tmp_path / 'a.pth')
    assert (found.host, found.recipe) == (host, None)
    assert found.backbone == {'arch': 'toy', 'patch_size': PATCH}


@pytest.mark.slow
@CHOICES
def test_evaluation_uses_the_chosen_encoder(tmp_path, encoder):
    source = ours(tmp_path / 'a.pth')
    DATASETS.register_module(name='ToyLabelled', module=LabelledImages, force=True)
    whole = [dict(type='Resize', scale=(SIZE, SIZE)), dict(type='PackInputs')]
    labels = [i * 5 % 7 for i in range(40)]
    data = {part: dict(type='ToyLabelled', labels=labels, seed=seed, pipeline=whole)
            for seed, part in enumerate(('train', 'test'))}
    cfg = Config(dict(model=IBOT, data_preprocessor=PREPROCESSOR, probe=data))
    found = judging.judge_checkpoint(cfg, tmp_path / 'a.pth', encoder=encoder)
    if encoder != 'student':
        source.backbone.load_state_dict(source.teacher.backbone.state_dict())
    assert found == judge(source, cfg)
