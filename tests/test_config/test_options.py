"""Options that nothing reads are refused, in comparisons and in studies."""

from pathlib import Path

import pytest
from mmengine.config import Config

from amt_mm.apis import comparison
from amt_mm.config.options import check_options
from amt_mm.errors import InputError
from lab.study.planning import plan_study
from lab.study.study_file import read_study

CONFIGS = Path(__file__).parents[2] / 'configs'
CLOTHING = CONFIGS / 'studies/_base_/mae_vit-mini-p8_clothing_30e.py'
WRONG = [('data_preprocesor.mask_generator.mask_ratio', 'did you mean data_preprocessor'),
         ('optim_wraper.type', 'did you mean optim_wrapper'), ('zzz', 'nothing reads zzz$'),
         ('probe.fold', 'did you mean folds'), ('self', 'nothing reads self')]


@pytest.mark.parametrize(('option', 'message'), WRONG)
def test_misspelt_options_are_refused(option, message):
    with pytest.raises(InputError, match=f'option {option}: .*{message}'):
        comparison.resolved(CLOTHING, {option: 1})


@pytest.mark.parametrize('option', [
    'train_cfg.max_epochs', 'probe.folds', 'probe.train.data_root', 'compile', 'cfg_own.x',
    'data_preprocessor.mask_generator.weighting.temperature', 'overlay.hooks.saliency.begin',
    'env_cfg.cudnn_benchmark', 'model_wrapper_cfg.type', 'find_unused_parameters', 'resume'])
def test_readable_options_pass(option):
    # A section that the config has itself may be read by its own code.
    check_options(Config(dict(cfg_own=dict(x=1))), [option], 'option')


@pytest.mark.parametrize(('option', 'message'), WRONG[:4])
@pytest.mark.parametrize('where', ['study', 'recipe', 'shares'])
def test_a_study_names_the_recipe(tmp_path, option, message, where):
    overlay = CONFIGS / '_base_/amt/mae-random.py'
    recipe = f"dict(overlay={str(overlay)!r}, {'options' if where == 'recipe' else 'shares'}=" \
             f"{dict() if where == 'study' else {option: .5}!r})"
    (tmp_path / 'study.py').write_text(
        f"baseline = 'a'\nseeds = [0]\ndatasets = dict(d={str(CLOTHING)!r})\n"
        f"recipes = dict(a=dict(overlay={str(overlay)!r}), b={recipe})\n"
        f"options = {({option: 1} if where == 'study' else {})!r}\n")
    with pytest.raises(InputError, match=f"recipe '[ab]' on d: option {option}: .*{message}"):
        plan_study(read_study(tmp_path / 'study.py'))
