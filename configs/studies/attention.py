# Does guiding masks by attention help, on two data sets of real photographs and on scenes whose
# objects are known?
#
#   python -m lab.study configs/studies/attention.py --dry-run       # epochs and costs
#   python -m lab.study configs/studies/attention.py --jobs 2        # train, judge, tables, plots
#   python -m lab.study configs/studies/attention.py --recipes 'AMT 45/40' --datasets clothing
#
# The same command resumes an interrupted study. Your own study is a file of the same form:
#
# - `datasets`: a base config each (model, data, schedule, `probe`), by a path from this file or
#   as 'amt_mm::PATH';
# - `recipes`: what each adds, in this order: `overlay` (a file or a list of them), then
#   `options` (entries as for --cfg-options), then `shares`: options whose value is this share of
#   the config's epochs, so that one recipe serves schedules of any length;
# - `budget='compute'` in a recipe: as many epochs as the baseline's cost allows, with the schedule
#   scaled to them; a number: this share of that cost; without it, the epochs of the data set's
#   config;
# - `options`: options of all runs, if any;
# - names that begin with `_`: ignored, for use within the file.

baseline = 'random 75/0'
seeds = [0, 1, 2]
datasets = dict(
    clothing='_base_/mae_vit-mini-p8_clothing_30e.py',
    cifar10='_base_/mae_vit-mini-p4_cifar10_12e.py',
    scenes='_base_/mae_vit-mini-p8_scenes_24e.py')

# Epoch 8 of 30, 3 of 12; and every so many from there on.
_calendar = {'overlay.hooks.saliency.begin': 0.27, 'overlay.hooks.saliency.interval': 0.27}
_late = {'overlay.hooks.saliency.begin': 0.6, 'overlay.hooks.saliency.interval': 0.27}
_often = {'overlay.hooks.saliency.begin': 0.27, 'overlay.hooks.saliency.interval': 0.07}
_masks, _maps = 'data_preprocessor.mask_generator.', 'overlay.hooks.saliency.'
_random = dict(overlay='../_base_/amt/mae-random.py')
_amt = dict(overlay='../_base_/amt/mae-amt.py', shares=_calendar)
_once = {'overlay.hooks.saliency.begin': 0.27, 'overlay.hooks.saliency.interval': 1.0}
_once_late = {'overlay.hooks.saliency.begin': 0.5, 'overlay.hooks.saliency.interval': 1.0}


def _with(recipe, maps=(), **masks):
    options = {_masks + name: value for name, value in masks.items()}
    options.update({_maps + name: value for name, value in dict(maps).items()})
    return dict(recipe, options=options)


def _also(recipe, **options):
    # Other options than those of masks and maps; `__` stands for a dot.
    options = {name.replace('__', '.'): value for name, value in options.items()}
    return dict(recipe, options={**recipe.get('options', {}), **options})


def _equal(recipe):
    return dict(recipe, budget='compute')


def _amt_low(mask, throw, maps=(), shares=_once):
    # Throws at random in the warm-up, too; one refresh.
    return _with(dict(_amt, shares=shares), maps, mask_ratio=mask, throw_ratio=throw,
                 warmup_mask_ratio=mask, warmup_throw_ratio=throw, **_low)


_by_rank = dict(weighting=dict(by_rank=True))
# Throws the least attended, masks at random among the rest.
_low = dict(throw='low', mask='random', **_by_rank)
_progress = dict(overlay__hooks__progress=dict(type='amt_mm.MaskProgressHook'))
# [CLS] alone must predict the masked patches, too.
_cls = dict(model__cls_loss_weight=1.0)
# Crops of 60 to 100 % of the image instead of 30 to 100.
_near_whole = dict(
    overlay__transforms__RandomResizedCrop=dict(
        _delete_=True, type='amt_mm.RandomResizedCropWithBox', crop_ratio_range=(0.6, 1.0)))
_throw = dict(mask_ratio=0.45, throw_ratio=0.40)
_quarter = dict(mask_ratio=0.35, throw_ratio=0.40)  # as many visible as in 75/0
_few = dict(mask_ratio=0.25, throw_ratio=0.50)
recipes = {
    # Is it the ratio, the throwing or the attention?
    'random 75/0': _random,
    'random 45/40': _with(_random, **_throw),
    'random 75/10': _with(_random, mask_ratio=0.75, throw_ratio=0.10),
    'random 35/40': _with(_random, **_quarter),
    'AM 75/0': dict(_amt, overlay='../_base_/amt/mae-am.py'),
    'AMT 45/40': _amt,
    # How soft should the ranking be?
    'AMT, temperature 3': _with(_amt, weighting=dict(temperature=3.0)),
    'AMT, half uniform': _with(_amt, weighting=dict(uniform=0.5)),
    'AMT, by rank': _with(_amt, **_by_rank),
    'AMT, inverted, by rank': _with(_amt, weighting=dict(by_rank=True, invert=True)),
    'AMT, annealed in': _also(_with(_amt, type='amt_mm.AnnealedMaskGenerator'), **_progress),
    'AMT, annealed out': _also(
        _with(_amt, type='amt_mm.AnnealedMaskGenerator', schedule='out'), **_progress),
    # What is thrown, what is shown?
    'AMT, throw low, by rank': _with(_amt, throw='low', **_by_rank),
    'AMT, throw low, mask random, by rank': _with(_amt, **_low),
    'AMT, throw low, mask random': _with(_amt, throw='low', mask='random'),
    'AMT 35/40, throw low, by rank': _with(_amt, throw='low', **_by_rank, **_quarter),
    'AMT 35/40, throw low, mask random, by rank': _with(_amt, **_low, **_quarter),
    # The encoder sees any patches, a quarter of all; attention says what it predicts.
    'random 25/50': _with(_random, **_few),
    'AMT 25/50, visible random': _with(_amt, visible='random', **_few),
    'AMT 25/50, visible random, inverted': _with(
        _amt, visible='random', weighting=dict(invert=True), **_few),
    'AMT 35/40, visible random': _with(_amt, visible='random', **_quarter),
    'AMT 25/50': _with(_amt, **_few),
    'AMT, hint .1': _with(_amt, hint_ratio=0.1),
    # The same compute.
    'random 45/40, equal compute': _with(_equal(_random), **_throw),
    'random 35/40, equal compute': _with(_equal(_random), **_quarter),
    'random 25/50, equal compute': _with(_equal(_random), **_few),
    'AMT 25/50, visible random, equal compute': _with(_equal(_amt), visible='random', **_few),
    'AMT, by rank, equal compute': _with(_equal(_amt), **_by_rank),
    'AMT, throw low, mask random, by rank, equal compute': _with(_equal(_amt), **_low),
    'AMT 35/40, throw low, mask random, by rank, equal compute': _with(
        _equal(_amt), **_low, **_quarter),
    'AMT-low 45/40, equal compute': _equal(_amt_low(0.45, 0.40)),
    'AMT-low 45/40, debiased, equal compute': _equal(_amt_low(0.45, 0.40, maps=dict(debias=True))),
    'AMT-low 45/40, from .5 on, equal compute': _equal(_amt_low(0.45, 0.40, shares=_once_late)),
    'AMT-low 40/40, equal compute': _equal(_amt_low(0.40, 0.40)),
    'AMT-low 35/40, equal compute': _equal(_amt_low(0.35, 0.40)),
    'AMT-low 35/40': _amt_low(0.35, 0.40),
    # Where maps come from, and when.
    'AMT, all tokens, by rank': _with(_amt, maps=dict(source='all'), **_by_rank),
    'AMT, all blocks, by rank': _with(_amt, maps=dict(layers='mean'), **_by_rank),
    'AMT, debiased, by rank': _with(_amt, maps=dict(debias=True), **_by_rank),
    'AMT, features, by rank': _with(_amt, maps=dict(source='feature'), **_by_rank),
    'AMT, per head': _with(_amt, maps=dict(normalize='head')),
    'AMT, from .6 on, by rank': _with(dict(_amt, shares=_late), **_by_rank),
    'AMT, one refresh': dict(_amt, shares=_once),
    'AMT, refreshed often': dict(_amt, shares=_often),
    'random 75/0, [CLS] trained': _also(_random, **_cls),
    'random 45/40, [CLS] trained': _also(_with(_random, **_throw), **_cls),
    'AMT, [CLS] trained': _also(_amt, **_cls),
    'AMT, throw low, mask random, by rank, [CLS] trained': _also(_with(_amt, **_low), **_cls),
    'random 75/0, crops from .6': _also(_random, **_near_whole),
    'AMT, crops from .6': _also(_amt, **_near_whole),
    'features, throw low, mask random, by rank': _with(_amt, maps=dict(source='feature'), **_low),
}
# On CPUs with bfloat16 a step takes half of its time.
options = {'optim_wrapper.type': 'amt_mm.BF16OptimWrapper'}
