# The MAE recommended for your own images: docs/recipes.md. A quarter of the patches is visible,
# another quarter predicted, the rest thrown, all at random. The decoder also reads two early
# blocks, and its masked tokens attend to the encoder's alone. The mean token predicts the HOG
# of the whole crop. Set batch, learning rate and epochs yourself; `amt pretrain` derives them from
# the number of images (amt_mm/config/batch_and_epochs.py).
_base_ = '../amt/mae-random.py'
overlay = dict(
    model=dict(
        hog_loss_weight=0.5, backbone=dict(skip_layers=(0, 2)), neck=dict(cross_attention=True)),
    data_preprocessor=dict(mask_generator=dict(mask_ratio=0.25, throw_ratio=0.50)))
