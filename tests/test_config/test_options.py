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
    check_options(Config(dict(cfg_own=dict(x=1))), {option: 1}, 'option')


GUIDED = """
model = dict(type='MAE', backbone=dict(type='MAEViT', arch='b'))
train_dataloader = dict(batch_size=4, dataset=dict(type='CIFAR10'))
train_cfg = dict(by_epoch=True, max_epochs=4)
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=.1),
                     paramwise_cfg=dict(custom_keys=dict(cls_token=dict(decay_mult=0))))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=4)]
env_cfg = dict(dist_cfg=dict(backend='nccl'))
overlay = dict(
    model=dict(backbone=dict(type=dict(MAEViT='amt_mm.AMTMAEViT'))),
    hooks=dict(saliency=dict(type='amt_mm.SaliencyUpdateHook', begin=1)))
"""


@pytest.mark.parametrize(('option', 'near'), [
    ('model.bakbone.arch', 'backbone'),
    # Of what a section has, of what its class takes, and of what a parent of that takes.
    ('model.backbone.ach', 'arch'), ('model.backbone.patchsize', 'patch_size'),
    ('model.backbone.drop_path_rat', 'drop_path_rate'),
    # Of a class that an overlay will put there, of hooks that every run has, of a loader.
    ('overlay.hooks.saliency.max_flt', 'max_flat'),
    ('default_hooks.progress_bar.intervall', 'interval'),
    ('default_hooks.checkpoint.max_keep_ckpt', 'max_keep_ckpts'),
    ('train_dataloader.prefetch', 'prefetch_factor'), ('val_dataloader.batchsize', 'batch_size'),
    ('param_scheduler.0.etamin', 'eta_min'), ('train_cfg.max_epoch', 'max_epochs'),
    ('overlay.imagesize', 'image_size')])
def test_a_name_near_to_one_that_is_read_stops_the_run(option, near):
    cfg = Config.fromstring(GUIDED, '.py')
    with pytest.raises(InputError, match=rf'option {option}: .* there; did you mean {near}\?$'):
        check_options(cfg, {option: 1}, 'option')


@pytest.mark.parametrize('option', [
    'model.backbone.drop_path_rate', 'optim_wrapper.optimizer.betas', 'train_dataloader.timeout',
    'optim_wrapper.clip_grad.max_norm', 'param_scheduler.0.eta_min', 'overlay.image_size',
    'overlay.hooks.saliency.max_flat', 'default_hooks.checkpoint.by_epoch',
    'train_dataloader.dataset.split', 'model.backbone._delete_'])
def test_arguments_of_classes_are_no_news(option):
    assert check_options(Config.fromstring(GUIDED, '.py'), {option: 1}, 'option') == []


def test_the_class_may_be_chosen_by_an_option_too():
    cfg = Config.fromstring(GUIDED, '.py')
    chosen = {'optim_wrapper.optimizer.type': 'SGD', 'optim_wrapper.optimizer.nesterov': True}
    assert check_options(cfg, chosen, 'option') == []
    assert len(check_options(cfg, dict(list(chosen.items())[1:]), 'option')) == 1


@pytest.mark.parametrize('option', [
    'optim_wrapper.paramwise_cfg.custom_keys.norm.decay_mult', 'env_cfg.dist_cfg.timeout',
    'default_hooks.own.type'])
def test_free_keys_are_added_in_words(option):
    line, = check_options(Config.fromstring(GUIDED, '.py'), {option: 1}, 'option')
    assert line.startswith(f'option {option}: the config has no ') and line.endswith('it is added')


@pytest.mark.slow
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
