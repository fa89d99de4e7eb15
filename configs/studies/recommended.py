# Which recipe trains the best encoder in the time of mmpretrain's MAE, and in a third of it? The
# ladder of docs/recipes.md: each recipe adds one step to the one before.
#
#   python -m lab.study configs/studies/recommended.py --jobs 2
#
# The format: configs/studies/attention.py.

baseline = 'mmpretrain'
seeds = [0, 1, 2]
datasets = dict(
    clothing='_base_/mae_vit-mini-p8_clothing_30e.py',
    cifar10='_base_/mae_vit-mini-p4_cifar10_12e.py')

_random = '../_base_/amt/mae-random.py'
_recommended = '../_base_/recommended/mae.py'
# Adds nothing: mmpretrain's own classes.
_own = '../_base_/default_runtime.py'
_batch, _rate = 'train_dataloader.batch_size', 'optim_wrapper.optimizer.lr'
_16 = {_batch: 16, _rate: 5e-4}
_masks = 'data_preprocessor.mask_generator.'
_thrown = {_masks + 'mask_ratio': .25, _masks + 'throw_ratio': .5}
_skips = {'model.backbone.skip_layers': [0, 2]}
_gradients = {'model.hog_loss_weight': 0.5}
recipes = {
    'mmpretrain': dict(overlay=_own),
    'recommended': dict(overlay=_recommended, options=_16, budget='compute'),
    # A third of the compute, step by step.
    '1/3: batch 128': dict(overlay=_random, budget=1 / 3),
    '1/3: batch 16': dict(overlay=_random, options=_16, budget=1 / 3),
    '1/3: + throwing': dict(overlay=_random, options={**_16, **_thrown}, budget=1 / 3),
    '1/3: + earlier blocks': dict(
        overlay=_random, options={**_16, **_thrown, **_skips}, budget=1 / 3),
    '1/3: + gradients': dict(
        overlay=_random, options={**_16, **_thrown, **_skips, **_gradients}, budget=1 / 3),
    '1/3: recommended': dict(overlay=_recommended, options=_16, budget=1 / 3),
    '1/3: recommended, 15 % visible': dict(
        overlay=_recommended, options={**_16, _masks + 'throw_ratio': .6}, budget=1 / 3),
    '1/3: recommended, nothing thrown': dict(
        overlay=_recommended, budget=1 / 3,
        options={**_16, _masks + 'mask_ratio': .75, _masks + 'throw_ratio': 0.}),
    '1/3: recommended, decoder of 1 block': dict(overlay=_recommended, budget=1 / 3, options={
        **_16, 'model.neck.decoder_depth': 1}),
    '1/3: recommended, beta2 .999': dict(overlay=_recommended, budget=1 / 3, options={
        **_16, 'optim_wrapper.optimizer.betas': (0.9, 0.999)}),
    '1/3: recommended, weight decay .2': dict(overlay=_recommended, budget=1 / 3, options={
        **_16, 'optim_wrapper.optimizer.weight_decay': 0.2}),
    '1/3: recommended, EMA of weights': dict(overlay=_recommended, budget=1 / 3, options={
        **_16, 'overlay.hooks.average': dict(type='EMAHook', momentum=0.002)}),
    # A third of the wall-clock time on one core, and all of it: a multiply-add of small batches
    # takes longer (docs/recipes.md).
    '1/3 of the time: recommended': dict(overlay=_recommended, options=_16, budget=.26),
    # A third of the time on CIFAR-10, whose small images load faster.
    '30 %: recommended': dict(overlay=_recommended, options=_16, budget=.30),
    'same time: recommended': dict(overlay=_recommended, options=_16, budget=.80),
    # mmpretrain's MAE with other rates (7.5e-5 is its own, scaled to the batch) and batches.
    'mmpretrain, lr 7.5e-5': dict(overlay=_own, options={_rate: 7.5e-5}),
    'mmpretrain, lr 5e-4': dict(overlay=_own, options={_rate: 5e-4}),
    'mmpretrain, batch 16': dict(overlay=_own, options=_16),
}
