# Does further pre-training on your own images improve a public encoder? Tables: docs/recipes.md and
# docs/appendix/recipes.md.
#
#   python -m lab.study configs/studies/continued.py --jobs 2
#
# The encoder, data/dinov2_vit-small-p14.safetensors, is any ViT-S/14 that amt evaluate reads;
# docs/appendix/recipes.md says where ours comes from. The format: configs/studies/attention.py.

baseline = 'as loaded'
seeds = [0, 1]
datasets = dict(clothing='_base_/mae_vit-small-p14_clothing_4e.py')

_start = {'overlay.hooks.pretrained': dict(
    type='amt_mm.PretrainedBackboneHook', checkpoint='data/dinov2_vit-small-p14.safetensors')}
_random = '../_base_/amt/mae-random.py'
_recommended = '../_base_/recommended/mae.py'
_continue = '../_base_/recommended/continue.py'


def _with(overlay, rate, **options):
    return dict(overlay=overlay, options={
        **_start, 'optim_wrapper.optimizer.lr': rate, **options})


def _small_batches(epochs):
    return {
        'train_dataloader.batch_size': 16,
        'train_cfg.max_epochs': epochs,
        'param_scheduler': [
            dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=1,
                 convert_to_iter_based=True),
            dict(type='CosineAnnealingLR', T_max=epochs - 1, by_epoch=True, begin=1, end=epochs,
                 convert_to_iter_based=True)
        ]}


_longer = _small_batches(12)
_last_4 = {'model.backbone.frozen_stages': 8}
_averaged = {'overlay.hooks.average': dict(type='amt_mm.StartAverageHook', share=0.25)}
# The recommended recipe with masks by the encoder's own attention, from the start on; averaged.
_guided = {
    **_averaged,
    'model.hog_loss_weight': 0.5,
    'model.backbone.skip_layers': [0, 2],
    'model.neck.cross_attention': True,
    'data_preprocessor.mask_generator.mask_ratio': 0.25,
    'data_preprocessor.mask_generator.throw_ratio': 0.50,
    'overlay.hooks.saliency.begin': 0,
    'overlay.hooks.saliency.interval': 4}
recipes = {
    # A rate of 0 trains nothing.
    'as loaded': _with(_random, 0.0, **{'train_cfg.max_epochs': 1, 'param_scheduler': []}),
    'MAE, 1e-5': _with(_random, 1e-5),
    'recommended, 1e-5': _with(_recommended, 1e-5),
    'recommended, 3e-5': _with(_recommended, 3e-5),
    'recommended, 1e-4': _with(_recommended, 1e-4),
    # The schedule of `amt pretrain --pretrained`, half an hour on one core.
    'recommended, 5e-4, 12 epochs': _with(_recommended, 5e-4, **_longer),
    # Averaged with the encoder as loaded: what `amt pretrain --pretrained` does.
    'continue': _with(_continue, 5e-4, **_longer),
    # The last four of its twelve blocks are trained, which takes .6 of the time.
    'continue, last 4 blocks': _with(_continue, 5e-4, **_longer, **_last_4),
    'continue, last 4 blocks, 24 epochs': _with(
        _continue, 5e-4, **_small_batches(24), **_last_4),
    # Separates the gain of the recipe from that of the average.
    'MAE, 5e-4, 12 epochs, averaged': _with(_random, 5e-4, **_longer, **_averaged),
    'AMT 25/50, 5e-4, 12 epochs, averaged': _with(
        '../_base_/amt/mae-amt.py', 5e-4, **_longer, **_guided),
}
