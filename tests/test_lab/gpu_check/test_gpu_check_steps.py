"""Steps: the batch that fits, the ratio to the reference, and networks of the size they say."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmpretrain.registry import MODELS

from amt_mm.apis.comparison import resolved
from lab.gpu_check import steps
from lab.gpu_check.steps import METHODS, REFERENCE, SIZES, Steps


@pytest.fixture(autouse=True)
def _no_collection(monkeypatch):
    """Collecting garbage takes longer than all the rest."""
    monkeypatch.setattr('gc.collect', lambda: 0)


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Steps of 2 ms an image, 4 for mmpretrain's MAE, on a device that holds 40 images."""
    def contestant(config, batch_size, images, scratch, bf16):
        if batch_size > 40:
            raise torch.OutOfMemoryError('CUDA out of memory')
        slow = 'mmpretrain::' in Path(config).read_text()
        return SimpleNamespace(batch_size=batch_size, multiply_adds=1e9, bf16=bf16, model='it',
                               seconds=batch_size * (.004 if slow else .002))

    def race(contestants, rounds, bf16, side):
        contestant, = contestants
        assert contestant.bf16 is bf16
        return SimpleNamespace(step=np.full((rounds, 1), contestant.seconds),
                               share_of_peak=lambda index, adds: adds / 1e11)

    compiled = []
    monkeypatch.setattr(steps, 'Contestant', contestant)
    monkeypatch.setattr(steps, 'race', race)
    monkeypatch.setattr(steps, 'peak_memory', lambda contestant: 3e9)
    monkeypatch.setattr(steps, 'compile_host', lambda model, options: compiled.append(model))
    made = Steps(tmp_path, tmp_path, SIZES, 5, 300)
    made.compiled = compiled
    return made


def test_the_batch_is_halved_until_it_fits(measured):
    row = measured.measure('ViT-B', REFERENCE, 'bf16')
    assert row['batch'] == 37  # 300, 150, 75, 37
    assert row['images'] == pytest.approx(250) and row['ms'] == pytest.approx(148)
    assert row['ratio'] == 1 and row['memory'] == 3
    assert row['peak'] == pytest.approx(37)  # a hundredth for each image, in %


def test_the_ratio_is_to_the_reference_of_the_same_size_and_precision(measured):
    assert measured.measure('ViT-B', 'MAE + AMT', 'bf16')['ratio'] is None
    measured.measure('ViT-B', REFERENCE, 'bf16')
    assert measured.measure('ViT-B', 'MAE + AMT', 'bf16')['ratio'] == pytest.approx(2)
    assert measured.measure('ViT-B', 'MAE + AMT', 'fp32')['ratio'] is None
    assert measured.measure('ViT-S', 'MAE + AMT', 'bf16')['ratio'] is None
    assert not measured.compiled
    assert measured.measure('ViT-B', 'MAE', 'compiled')['ratio'] == pytest.approx(2)
    assert measured.compiled == ['it']


def test_an_image_that_does_not_fit_is_an_error(measured, monkeypatch):
    def none(*args, **kwargs):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(steps, 'Contestant', none)
    with pytest.raises(MemoryError, match='one image is too many'):
        measured.measure('ViT-L', 'iBOT', 'fp32')


@pytest.mark.slow
@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize(('size', 'width', 'layers'), [
    ('ViT-S', 384, 12), ('ViT-B', 768, 12), ('ViT-L', 1024, 24)])
def test_networks_are_of_the_size_that_they_say(tmp_path, method, size, width, layers):
    cfg = resolved(Steps(tmp_path, tmp_path, SIZES, 1, 1).config(size, method))
    with torch.device('meta'):
        model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    assert model.backbone.embed_dims == width and len(model.backbone.layers) == layers
    assert model.backbone.patch_embed.projection.kernel_size == (16, 16)
    if 'MAE' in method:
        assert model.neck.decoder_embed.in_features == width
