# iBOT with random masks on photographs of clothes, with a k-NN curve during training.
#   python tools/train.py configs/clothing/ibot-random_vit-nano-p8_1xb64-coslr-30e_clothing.py
_base_ = [
    '../_base_/models/ibot_vit-nano-p8_64px.py', '../_base_/datasets/clothing_64px_ibot.py',
    '../_base_/schedules/nano_ibot_adamw-coslr-30e.py'
]

model = dict(masking=dict(strategy='random'))
train_dataloader = dict(batch_size=64, drop_last=True)
default_hooks = dict(
    knn_probe=dict(
        type='amt_mm.KNNProbeHook', interval=5, begin=0, train=_base_.probe.train,
        test=_base_.probe.test))
