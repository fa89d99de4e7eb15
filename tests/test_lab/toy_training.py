# A training of a second, for lab/kill_and_resume.py: 10 scenes in batches of 4,
# the last of 2; 9 iterations, maps refreshed before the 4th and the 7th.
_base_ = '../../configs/quickstart/mae-amt_vit-mini-p8_1xb128-coslr-24e_scenes.py'

overlay = dict(hooks=dict(saliency=dict(begin=1, interval=1)))
model = dict(
    backbone=dict(arch=dict(embed_dims=24, num_layers=1, feedforward_channels=24)),
    neck=dict(decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2))
train_dataloader = dict(batch_size=4, dataset=dict(num_samples=10))
train_cfg = dict(max_epochs=3)
param_scheduler = [dict(type='LinearLR', by_epoch=False, start_factor=.1, end=5),
                   dict(type='StepLR', by_epoch=True, step_size=1)]
default_hooks = dict(checkpoint=dict(interval=1, by_epoch=False, max_keep_ckpts=2))
randomness = dict(seed=0)
log_level = 'WARNING'
