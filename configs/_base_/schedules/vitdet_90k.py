# ViTDet's optimiser and the shape of its schedule, for 90k iterations of 16 images: 12 epochs of
# COCO. AdamW, weight decay .1, layer decay .7 (ViT-B); 250 iterations of warm-up; a tenth after
# 8/9 and again after 26/27, where ViTDet has its steps (163,889 and 177,546 of 184,375).
#
# The learning rate is also ViTDet's, for a batch size of 64: the AMT paper refers to ViTDet's
# settings with a batch size of 16 and gives no other rate. For other batch sizes,
# `--auto-scale-lr` scales it in proportion.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    constructor='amt_mm.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.1),
    paramwise_cfg=dict(layer_decay_rate=0.7))
auto_scale_lr = dict(enable=False, base_batch_size=16)

param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=250),
    dict(
        type='MultiStepLR',
        by_epoch=False,
        begin=0,
        end=90000,
        milestones=[80000, 86667],
        gamma=0.1)
]

train_cfg = dict(type='IterBasedTrainLoop', max_iters=90000, val_interval=30000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
