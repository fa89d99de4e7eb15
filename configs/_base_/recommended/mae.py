# The MAE recommended for your own images: docs/recipes.md. A quarter of the patches is visible,
# another quarter predicted, the rest thrown, all at random; the decoder also reads two early
# blocks; the mean token predicts the gradients of the whole crop. Set batch, learning rate and
# epochs yourself; `amt pretrain` derives them from the number of images
# (amt_mm/config/batch_and_epochs.py).
_base_ = '../amt/mae-random.py'
overlay = dict(
    model=dict(hog_loss_weight=0.5, backbone=dict(skip_layers=(0, 2))),
    data_preprocessor=dict(mask_generator=dict(mask_ratio=0.25, throw_ratio=0.50)))
