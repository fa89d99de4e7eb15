# `amt pretrain FOLDER --size base`: ViT-B/16 at 224 pixels, 86 M parameters; takes a GPU.
_base_ = [
    'mmpretrain::_base_/models/mae_vit-base-p16.py', '../_base_/datasets/folder_64px.py',
    '../_base_/schedules/mini_adamw-coslr-60e.py'
]

overlay = dict(image_size=224)
train_dataloader = dict(num_workers=8, persistent_workers=True, pin_memory=True)
