"""judging: what it builds, what it keeps, and that another process gets the same."""

import json

import pytest
import torch

from amt_mm import shipped
from amt_mm.apis import comparison, judging
from amt_mm.evaluation import judge as judge_module
from amt_mm.models.token_counts import tokens_per_image

QUICKSTART = 'quickstart/mae-amt_vit-mini-p8_1xb128-coslr-24e_scenes.py'
FEW = {'probe.train.num_samples': 30, 'probe.test.num_samples': 20, 'randomness.seed': 3}


def test_random_encoders_differ_by_seed_and_repeat():
    cfg = comparison.resolved(str(shipped.configs_folder() / QUICKSTART))
    first, again, other = (judging.build_model(cfg, seed).backbone.layers[0].attn.qkv.weight
                           for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize('generator', [
    dict(type='amt_mm.AMTMaskGenerator'),
    dict(type='amt_mm.AnnealedMaskGenerator', schedule='out')])  # its progress is not set
def test_tokens_per_image_at_the_end_of_training(generator):
    cfg = comparison.resolved(str(shipped.configs_folder() / QUICKSTART), {
        f'data_preprocessor.mask_generator.{name}': value for name, value in generator.items()})
    # 45/40 of 64 patches: 28 masked, 26 thrown, 10 visible, and [CLS].
    assert tokens_per_image(judging.build_model(cfg)) == {
        'encoder_tokens': 11, 'decoder_tokens': 39}


def test_measures_are_kept_in_the_folder(tmp_path, monkeypatch):
    cfg = comparison.resolved(str(shipped.configs_folder() / QUICKSTART), FEW)
    wanted = judging.build_model(cfg, 3).backbone.cls_token
    monkeypatch.setattr(judge_module, 'judge', lambda model, cfg: {
        'knn': 12.5, 'same': float(torch.equal(model.backbone.cls_token, wanted))})
    found = judging.judge_into(tmp_path / 'new', cfg, 'none')
    assert found == {'knn': 12.5, 'same': 1, 'encoder_tokens': 11, 'decoder_tokens': 39}
    assert json.loads((tmp_path / 'new' / 'measures.json').read_text()) == found


@pytest.mark.slow
def test_another_process_finds_the_same(tmp_path):
    cfg = comparison.resolved(str(shipped.configs_folder() / QUICKSTART), FEW)
    settings = tmp_path / 'config.py'
    cfg.dump(settings)
    here = judging.judge_into(tmp_path, cfg, 'none')
    (tmp_path / 'measures.json').unlink()
    assert judging.judge_in_a_process(tmp_path, settings, 'none', threads=1) == pytest.approx(here)
