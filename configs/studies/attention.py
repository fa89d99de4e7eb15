# Does guiding masks by attention help, on two data sets of real photographs?
#
#   python tools/study.py configs/studies/attention.py --dry-run       # epochs and costs
#   python tools/study.py configs/studies/attention.py --jobs 2        # train, judge, tables, plots
#   python tools/study.py configs/studies/attention.py --recipes random amt --datasets clothing
#
# The same command goes on where it stopped. A study of your own is such a file:
#
# - `datasets`: a base config each (model, data, schedule, `probe`), by a path from this file or
#   as 'amt_mm::PATH';
# - `recipes`: what each puts on top, in this order: `overlay` (a file or a list of them), then
#   `options` (entries as for --cfg-options), then `shares`: options whose value is this share of
#   the config's epochs, so that one recipe serves schedules of any length;
# - `budget='compute'` in a recipe: as many epochs as cost what the baseline costs, the schedule
#   scaled with them; without it, the epochs of the data set's config;
# - `options`, where all runs share some;
# - names that begin with `_` are the file's own.

baseline = 'random'
seeds = [0, 1]
datasets = dict(
    clothing='_base_/mae_vit-mini-p8_clothing_30e.py',
    cifar10='_base_/mae_vit-mini-p4_cifar10_12e.py')

# Epoch 8 of 30, 3 of 12; and every so many from there on.
_calendar = {'overlay.hooks.saliency.begin': 0.27, 'overlay.hooks.saliency.interval': 0.27}
recipes = {
    'random': dict(overlay='../_base_/amt/mae-random.py'),
    'random throw 45/40': dict(
        overlay='../_base_/amt/mae-random.py',
        options={
            'data_preprocessor.mask_generator.mask_ratio': 0.45,
            'data_preprocessor.mask_generator.throw_ratio': 0.40
        }),
    'AM': dict(overlay='../_base_/amt/mae-am.py', shares=_calendar),
    'AMT': dict(overlay='../_base_/amt/mae-amt.py', shares=_calendar),
}
