# What would perfect maps do? Masks of the objects guide AMT from the first epoch on, on photographs
# of clothes and on generated scenes; beside them, random masks and AMT by its own attention. Table:
# docs/appendix/study.md.
#
#   python -m lab.study configs/studies/oracle.py --jobs 2
#
# Provide data/object_maps.npz with a map for each training image of both data sets, and, for
# 'encoder: AMT', data/attention_maps.npz with an encoder's attention on the photographs:
# docs/guidance.md has the form, docs/appendix/study.md how ours are made. The format of this file:
# configs/studies/attention.py.

baseline = 'random 45/40'
seeds = [0, 1, 2]
datasets = dict(
    clothing='_base_/mae_vit-mini-p8_clothing_30e.py',
    scenes='_base_/mae_vit-mini-p8_plain-scenes_24e.py')

_masks = 'data_preprocessor.mask_generator.'
_random = '../_base_/amt/mae-random.py'
_throw = {_masks + 'mask_ratio': 0.45, _masks + 'throw_ratio': 0.40}


def _given(kind='object', **masks):
    return dict(overlay='../_base_/amt/mae-amt-maps.py', options={
        'overlay.hooks.saliency.path': f'data/{kind}_maps.npz',
        **{_masks + name: value for name, value in masks.items()}})


_own = {'overlay.hooks.saliency.begin': 0.27, 'overlay.hooks.saliency.interval': 0.27}
recipes = {
    'random 75/0': dict(overlay=_random),
    'random 45/40': dict(overlay=_random, options=_throw),
    'objects: AMT': _given(),
    'objects: AMT, temperature 3': _given(weighting=dict(temperature=3.0)),
    'objects: AMT, inverted': _given(weighting=dict(invert=True)),
    'objects: throw low, mask random': _given(throw='low', mask='random'),
    'encoder: AMT': _given('attention'),
    'own attention: AMT': dict(overlay='../_base_/amt/mae-amt.py', shares=_own),
    'own attention: AMT, weights of the release': dict(
        overlay='../_base_/amt/mae-amt-released.py', shares=_own),
}
