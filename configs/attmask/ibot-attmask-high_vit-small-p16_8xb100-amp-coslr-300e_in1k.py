# AttMask-High for 300 epochs, batch 800, with wider ranges of crop sizes.
# Kakogeorgiou et al., ECCV 2022 (arXiv 2203.12719): 75.0 k-NN, 77.5 linear (teacher).
#   bash tools/dist_train.sh \
#     configs/attmask/ibot-attmask-high_vit-small-p16_8xb100-amp-coslr-300e_in1k.py 8
_base_ = 'ibot-attmask-high_vit-small-p16_4xb60-amp-coslr-100e_in1k.py'

train_pipeline = _base_.train_pipeline
for _view, _scales in enumerate([(0.32, 1.0), (0.32, 1.0), (0.05, 0.32)]):
    train_pipeline[1]['transforms'][_view][0]['crop_ratio_range'] = _scales
train_dataloader = dict(batch_size=100, dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(optimizer=dict(lr=5e-4 * 800 / 256))
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(T_max=290, end=300)
param_scheduler[2].update(T_max=300, end=300)
train_cfg = dict(max_epochs=300)
auto_scale_lr = dict(base_batch_size=800)
