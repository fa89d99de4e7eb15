# The recommended masks for MAE on one's own images, found in docs/recipes.md: a quarter of the
# patches is seen, another quarter predicted, the rest thrown, all at random. Batch, learning rate
# and epochs follow from the number of images: amt_mm/config/recommended.py.
_base_ = '../amt/mae-random.py'
overlay = dict(
    data_preprocessor=dict(mask_generator=dict(mask_ratio=0.25, throw_ratio=0.50)))
