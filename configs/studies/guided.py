# Does guidance improve the recommended recipe, here with self-attention in the decoder: by the
# encoder's own attention, or by maps of the objects, an upper bound of what better attention could
# give? docs/recipes.md has the table.
#
#   python -m lab.study configs/studies/guided.py --jobs 2
#
# Provide the maps of the objects yourself: an .npz file with the arrays `train_names` and
# `train_object`, one map for each image below data/clothing/train (docs/guidance.md).
# The format: configs/studies/attention.py.

baseline = 'random'
seeds = [0, 1]
datasets = dict(clothing='_base_/mae_vit-mini-p8_clothing_13e.py')

_masks = 'data_preprocessor.mask_generator.'
_options = {'train_dataloader.batch_size': 16, 'optim_wrapper.optimizer.lr': 5e-4}
_model = {'model.hog_loss_weight': 0.5, 'model.backbone.skip_layers': [0, 2]}
_own = dict(
    overlay='../_base_/amt/mae-amt.py',
    shares={'overlay.hooks.saliency.begin': 0.27, 'overlay.hooks.saliency.interval': 0.27})
_objects = dict(
    overlay='../_base_/amt/mae-amt-maps.py',
    options={
        'overlay.hooks.saliency.path': 'data/clothing_object_maps.npz',
        'overlay.hooks.saliency.names': 'train_names',
        'overlay.hooks.saliency.maps': 'train_object',
        'overlay.hooks.saliency.below': 'train'})
# The ratios of the recommended recipe, before the first maps, too.
_ratios = dict(mask_ratio=0.25, throw_ratio=0.50, warmup_mask_ratio=0.25, warmup_throw_ratio=0.50)
_low = dict(throw='low', mask='random')
_soft = dict(weighting=dict(uniform=0.75))
_fading = dict(type='amt_mm.AnnealedMaskGenerator', schedule='out')
_progress = {'overlay.hooks.progress': dict(type='amt_mm.MaskProgressHook')}


def _with(recipe, also=(), **masks):
    masks = {_masks + name: value for name, value in {**_ratios, **masks}.items()}
    return dict(recipe, options={
        **_options, **_model, **recipe.get('options', {}), **masks, **dict(also)})


recipes = {
    'random': dict(overlay='../_base_/amt/mae-random.py', options={
        **_options, **_model, _masks + 'mask_ratio': 0.25, _masks + 'throw_ratio': 0.50}),
    'attention: AMT': _with(_own),
    'objects: AMT': _with(_objects),
    'attention: throw low': _with(_own, **_low),
    'objects: throw low': _with(_objects, **_low),
    'attention: predict high, visible random': _with(_own, visible='random'),
    'objects: predict high, visible random': _with(_objects, visible='random'),
    'attention: a quarter of the weight': _with(_own, **_soft),
    'objects: a quarter of the weight': _with(_objects, **_soft),
    'attention: fading': _with(_own, _progress, **_fading),
    'objects: fading': _with(_objects, _progress, **_fading),
}
