"""view: a page from a checkpoint and a folder, whatever they are, and what it refuses."""

import re

import cv2
import numpy as np
import pytest
import torch
from conftest import save_checkpoint
from html_page import Page

from amt_mm.apis import view as apis_view
from amt_mm.apis.view import view
from amt_mm.checkpoints import convert, write_checkpoint
from amt_mm.errors import InputError
from amt_mm.masking import AMTMaskGenerator
from amt_mm.visualization.components_section import components_row

SIZE, PATCH = 40, 8
# As a config says it, and as conftest.py builds it.
BACKBONE = dict(type='amt_mm.AMTMAEViT', img_size=SIZE, patch_size=PATCH,
                arch=dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48))
CONFIG = dict(
    model=dict(type='amt_mm.AMTMAE', backbone=BACKBONE, head=dict(norm_pix=True),
               neck=dict(decoder_num_heads=2)),
    data_preprocessor=dict(type='amt_mm.AMTDataPreprocessor', mask_generator=dict(
        type='amt_mm.AMTMaskGenerator', mask_ratio=.4, throw_ratio=.2)),
    custom_hooks=[dict(type='amt_mm.SaliencyUpdateHook', debias=True)])
TITLES = ['Where [CLS] looks', 'What is masked, and how often', 'What the decoder predicts',
          'What the encoder finds alike', 'Nearest neighbours in the folder', 'Details']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Nine images in three classes; one file is none."""
    folder = tmp_path_factory.mktemp('photos')
    chance = np.random.default_rng(0)
    for kind in ('a & b', '<i>', 'third'):
        (folder / kind).mkdir()
        for i in range(3):
            image = chance.integers(0, 255, (61, 53, 3), np.uint8)
            cv2.imwrite(str(folder / kind / f'{i}.png'), image)
    (folder / 'third/broken.jpg').write_bytes(b'no image')
    return folder


@pytest.fixture
def checkpoint(tmp_path, toy_mae):
    return save_checkpoint(tmp_path / 'epoch_3.pth',
                           toy_mae(backbone=dict(img_size=SIZE)).state_dict(), **CONFIG)


def shown_names(page):
    return re.findall(r'<h3>(.*?)</h3>', page)[-3:]


@pytest.mark.slow
def test_a_checkpoint_of_this_toolbox(checkpoint, folder, tmp_path):
    path = view(checkpoint, folder, tmp_path / 'out', count=3)
    assert path == tmp_path / 'out/view.html'
    text = path.read_text()
    page = Page(text)
    assert [page.texts[i] for i in range(len(page.texts)) if page.texts[i] in TITLES] == TITLES
    # Nothing is loaded from elsewhere, and names of folders are text.
    assert 'http:' not in text and 'https:' not in text and '<i>/' not in text
    for tag, attrs in page.tags:
        assert tag != 'script' and attrs.get('src', attrs.get('href', 'data:')).startswith('data:')
    images = page.images()
    # Samples of the legend have words beside them.
    assert [image['alt'] for image in images].count('') == 3
    # One image of each class; a sheet, six pictures of the plan, four of the reconstruction, one
    # of components and six of neighbours each, all of them files too.
    assert {name.split('/')[0] for name in shown_names(text)} == {'a &amp; b', '&lt;i&gt;', 'third'}
    files = sorted((tmp_path / 'out').glob('*/*.png'))
    assert len(files) == 3 * (1 + 6 + 4 + 1 + 6)
    assert f'{len(files)} PNG files' in text and len(images) == len(files) + 3
    for words in ('AMTMaskGenerator, mask_ratio=0.4, throw_ratio=0.2', 'with 3 heads and width 24',
                  '40 pixels as 5 x 5 patches', '9 in ', 'the cosine of the mean of the patch',
                  '40\xa0% masked, 20\xa0% thrown, 40\xa0% visible',
                  '40\xa0% visible, 40\xa0% masked and predicted, 20\xa0% thrown',
                  'of the 15 neighbours have'):
        assert words in text, words


@pytest.mark.slow
def test_the_seed_decides_everything(checkpoint, folder, tmp_path):
    pages = [view(checkpoint, folder, tmp_path / 'out', count=1, seed=seed).read_text()
             for seed in (4, 4, 5)]
    assert pages[0] == pages[1] and shown_names(pages[0]) != shown_names(pages[2])


@pytest.mark.slow
def test_a_timm_checkpoint_without_a_config(folder, tmp_path):
    timm = pytest.importorskip('timm')
    torch.manual_seed(0)
    state = timm.create_model('vit_tiny_patch16_224', num_classes=5).state_dict()
    write_checkpoint(tmp_path / 'timm.safetensors', state)
    text = view(tmp_path / 'timm.safetensors', folder, tmp_path / 'out', image_size=48).read_text()
    for words in ('AMT at its defaults', 'no decoder of MAE', 'the cosine of [CLS]',
                  '48 pixels as 3 x 3 patches', 'resized from 14x14 to 3x3', 'timm naming'):
        assert words in text, words
    # Eight of nine images by default.
    assert len(list((tmp_path / 'out/plan').glob('*_01_image.png'))) == 8
    masked = int(AMTMaskGenerator()(1, (3, 3), torch.rand(1, 9)).masked.shape[1])
    assert f'{100 * masked / 9:.3g}\xa0% masked' in text


@pytest.mark.slow
def test_official_names_with_a_decoder(folder, tmp_path, toy_mae):
    model = toy_mae(backbone=dict(img_size=32, patch_size=16, arch='deit-tiny'),
                    neck=dict(decoder_embed_dim=512, decoder_num_heads=16))
    torch.save({'model': convert(model.state_dict(), 'mae').state}, tmp_path / 'mae.pth')
    text = view(tmp_path / 'mae.pth', folder, tmp_path / 'out', 2, image_size=32).read_text()
    assert 'random masks of MAE' in text and 'The file does not say what its targets were' in text


@pytest.fixture
def coloured(monkeypatch):
    """What the patches of the page are coloured by: the images and the features."""
    given = []
    monkeypatch.setattr(apis_view, 'components_row', lambda shown, features: given.append(
        (shown, features)) or components_row(shown, features))
    return given


@pytest.mark.slow
def test_patches_are_coloured_by_their_own_features(checkpoint, folder, tmp_path, coloured):
    view(checkpoint, folder, tmp_path / 'out', 2)
    (shown, features), = coloured
    with torch.no_grad():
        tokens, = shown.vit(shown.inputs)
    assert features.shape == (2, 25, 24)
    torch.testing.assert_close(features, tokens[:, 1:])


@pytest.mark.slow
def test_an_encoder_without_cls(folder, tmp_path, coloured):
    from mmpretrain.models import VisionTransformer
    vit = VisionTransformer('deit-tiny', 48, 16, out_type='raw', with_cls_token=False)
    state = {f'backbone.{name}': value for name, value in vit.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    text = view(tmp_path / 'a.pth', folder, tmp_path / 'out', 2, image_size=48).read_text()
    (shown, features), = coloured
    with torch.no_grad():
        torch.testing.assert_close(features, shown.vit(shown.inputs)[0])
    assert 'no [CLS] token' in text and 'Without [CLS] there is no map' in text
    assert 'the cosine of the mean of the patch tokens' in text


@pytest.mark.slow
def test_masks_of_self_distillation_and_the_student(folder, tmp_path, toy_mae):
    student = toy_mae(0, backbone=dict(img_size=SIZE)).state_dict()
    teacher = toy_mae(1, backbone=dict(img_size=SIZE)).state_dict()
    state = {**{name: value for name, value in student.items() if name.startswith('backbone.')},
             **{f'teacher.{name}': value for name, value in teacher.items()
                if name.startswith('backbone.')}}
    save_checkpoint(tmp_path / 'a.pth', state, model=dict(
        type='amt_mm.IBOT', backbone=BACKBONE, masking=dict(
            type='amt_mm.CropMasking', strategy='high', ratio=[.4, .4], gate=1.)))
    text = view(tmp_path / 'a.pth', folder, tmp_path / 'out', 2, encoder='student').read_text()
    assert 'loaded from the student' in text and 'strategy=high' in text
    assert 'thrown' not in re.findall(r'The mean over all patches is ([^.]*)', text)[0]


@pytest.mark.slow
def test_images_without_classes(checkpoint, folder, tmp_path):
    text = view(checkpoint, folder / 'third', tmp_path / 'out').read_text()
    assert '3 in ' in text and 'have the class' not in text
    # The two others are all the neighbours there are.
    assert len(list((tmp_path / 'out/neighbours').glob('*.png'))) == 9


@pytest.mark.slow
def test_what_it_refuses(checkpoint, folder, tmp_path):
    nowhere, other = tmp_path / 'nowhere', tmp_path / 'other.pth'
    torch.save({'state_dict': {'fc.weight': torch.ones(2)}}, other)
    for call, words in (
            ((checkpoint, nowhere), 'nowhere: no such folder'),
            ((nowhere, folder), 'nowhere: no such checkpoint'),
            ((other, folder), 'other.pth: .* is it a vision transformer'),
            ((checkpoint, folder), 'it has 9 images, 10 were requested')):
        with pytest.raises(InputError, match=words):
            view(*call, tmp_path / 'out', count=10)
    with pytest.raises(InputError, match='0 were requested: choose from 1 to 9 .--images.'):
        view(checkpoint, folder, tmp_path / 'out', count=0)
    with pytest.raises(InputError, match='41 pixels are not a multiple of the patch size 8'):
        view(checkpoint, folder, tmp_path / 'out', image_size=41)
    assert not (tmp_path / 'out/view.html').exists()
