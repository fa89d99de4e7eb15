"""The host of docs/add_a_host.md: it runs, it is MFF, and the page shows it as it is."""

import copy
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS

import amt_mm.registry  # noqa: F401, I001  (before mmpretrain: makes torchvision importable)
from amt_mm.config import apply_overlay
from amt_mm.masking import AMTMaskGenerator, MaskPlan
from amt_mm.saliency import cls_saliency

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / 'examples/mff_host.py'
PAGE = ROOT / 'docs/add_a_host.md'


@pytest.fixture(scope='module', autouse=True)
def example():
    """The example, importable by its name as the page's config imports it."""
    sys.path.insert(0, str(EXAMPLE.parent))
    import mff_host  # noqa: F401
    yield
    sys.path.remove(str(EXAMPLE.parent))


def config(**backbone):
    return dict(
        type='amt_mm.MFFHost',
        backbone=dict(type='amt_mm.MFFHostViT', img_size=40, patch_size=8, out_indices=[0, 2, 3],
                      arch=dict(embed_dims=24, num_layers=4, num_heads=3,
                                feedforward_channels=48), **backbone),
        neck=dict(type='amt_mm.AMTMAEDecoder', decoder_embed_dim=16, decoder_depth=1,
                  decoder_num_heads=2),
        head=dict(type='amt_mm.AMTMAEHead', norm_pix=True,
                  loss=dict(type='PixelReconstructionLoss', criterion='L2')))


def randomize(model):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    return model


def test_it_trains_with_throwing_and_never_sees_the_thrown():
    cfg = config()
    cfg['backbone']['img_size'] = (40, 56)
    model = randomize(MODELS.build(cfg))
    plan = AMTMaskGenerator()(3, (5, 7), torch.rand(3, 35))
    assert [ids.shape[1] for ids in (plan.masked, plan.thrown, plan.visible)] == [15, 14, 6]
    images = torch.randn(3, 3, 40, 56)
    entering = []
    model.backbone.layers[0].register_forward_pre_hook(
        lambda _, args: entering.append(args[0].shape[1]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = []
    for _ in range(3):
        result = model(images, mode='loss', plan=plan)
        optimizer.zero_grad()
        result['loss'].backward()
        optimizer.step()
        losses.append(float(result['loss'].detach()))
    assert losses[2] < losses[0]
    assert entering == [7, 7, 7]
    assert cls_saliency(model.backbone, images).shape == (3, 35)
    with torch.no_grad():
        before = model(images, mode='loss', plan=plan)['loss']
        for sample, ids in enumerate(plan.thrown.tolist()):
            for token in ids:
                y, x = (8 * i for i in divmod(token, 7))
                images[sample, :, y:y + 8, x:x + 8] += 1 + torch.rand(3, 8, 8)
        assert torch.equal(before, model(images, mode='loss', plan=plan)['loss'])


def test_without_throwing_it_is_mmpretrains_mff():
    own = copy.deepcopy(config())
    own['type'] = 'MFF'
    own['backbone'] |= dict(type='MFFViT', mask_ratio=0.6)
    own['neck'] |= dict(type='MAEPretrainDecoder', num_patches=25, patch_size=8, embed_dim=24)
    own['head'] |= dict(type='MAEPretrainHead', patch_size=8)
    theirs = randomize(MODELS.build(own)).double()
    ours = MODELS.build(config()).double()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(3, 3, 40, 40).double()
    torch.manual_seed(5)
    _, mask, restore, _ = theirs.backbone(images)
    order, kept = restore.argsort(dim=1), int((mask[0] == 0).sum())
    plan = MaskPlan(order[:, kept:], order[:, :0], order[:, :kept], (5, 5))
    torch.manual_seed(5)
    wanted = theirs.loss(images, None)
    found = ours.loss(images, None, plan)
    assert found.keys() == wanted.keys() == {'loss', 'weight_0', 'weight_1', 'weight_2'}
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)
    wanted['loss'].backward()
    found['loss'].backward()
    gradients = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None}
    assert 'backbone.proj_weights' in gradients
    for name, parameter in theirs.named_parameters():
        assert (parameter.grad is None) == (name not in gradients)
        if name in gradients:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-9, atol=1e-12)


def test_it_runs_as_a_script(capsys, monkeypatch):
    # The names are taken: this process has imported the example already.
    monkeypatch.setattr(amt_mm.registry.MODELS, 'register_module', lambda: lambda cls: cls)
    runpy.run_path(str(EXAMPLE), run_name='__main__')
    assert '21 masked, 19 thrown, 8 visible; loss' in capsys.readouterr().out


def test_the_page_shows_the_example_as_it_is():
    code = EXAMPLE.read_text()
    assert len(code.splitlines()) <= 60
    assert f'```python\n{code}```' in PAGE.read_text()


def test_the_config_of_the_page_builds(tmp_path):
    block, = (b for b in re.findall(r'```python\n(.*?)```', PAGE.read_text(), re.DOTALL)
              if '_base_ =' in b)
    # The same file as a path: the name works where amt_mm is installed.
    assert 'amt_mm::_base_/' in block
    (tmp_path / 'page.py').write_text(block.replace('amt_mm::', f'{ROOT}/configs/'))
    cfg = apply_overlay(Config.fromfile(tmp_path / 'page.py'))
    with torch.device('meta'):
        model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    assert type(model).__name__ == 'MFFHost'
    assert model.backbone.out_indices == [0, 2, 4, 6, 8, 11]
    plan = model.data_preprocessor.mask_generator(1, (14, 14), torch.rand(1, 196))
    assert (plan.masked.shape[1], plan.thrown.shape[1]) == (88, 78)
