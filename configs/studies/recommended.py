# What makes a better encoder in the same time? The ladder of docs/recipes.md: each recipe adds one
# step to the one before it, at equal arithmetic.
#
#   python -m lab.study configs/studies/recommended.py --jobs 2
#
# The format: configs/studies/attention.py.

baseline = 'batch 128'
seeds = [0, 1, 2]
datasets = dict(
    clothing='_base_/mae_vit-mini-p8_clothing_30e.py',
    cifar10='_base_/mae_vit-mini-p4_cifar10_12e.py')

_batch, _rate = 'train_dataloader.batch_size', 'optim_wrapper.optimizer.lr'
_random = '../_base_/amt/mae-random.py'
_recommended = dict(
    overlay='../_base_/recommended/mae.py', options={_batch: 16, _rate: 5e-4}, budget='compute')
# Nothing of amt_mm: mmpretrain's MAE with its own masks, pipeline and runner.
_stock = '../_base_/default_runtime.py'
recipes = {
    'batch 128': dict(overlay=_random),
    'batch 32': dict(overlay=_random, options={_batch: 32, _rate: 5e-4}),
    'batch 16': dict(overlay=_random, options={_batch: 16, _rate: 5e-4}),
    'batch 16, 25/50 (recommended)': _recommended,
    'recommended, a third of the compute': dict(_recommended, budget=1 / 3),
    # mmpretrain's rate for a batch of 4,096, scaled to 128, and two higher ones.
    'stock, batch 128, lr 7.5e-5': dict(overlay=_stock, options={_rate: 7.5e-5}),
    'stock, batch 128, lr 5e-4': dict(overlay=_stock, options={_rate: 5e-4}),
    'stock, batch 128, lr 1e-3': dict(overlay=_stock),
    'stock, batch 32, lr 5e-4': dict(overlay=_stock, options={_batch: 32, _rate: 5e-4}),
}
