# iBOT: block-wise masks with one ratio per crop; ViT-S/16, 100 epochs on ImageNet-1K. The baseline
# of AttMask, with its recipe; AttMask's release publishes no result for it.
#   bash tools/dist_train.sh configs/attmask/ibot-block_vit-small-p16_4xb60-amp-coslr-100e_in1k.py 4
_base_ = [
    '../_base_/models/ibot_vit-small-p16.py', '../_base_/datasets/imagenet_bs60_ibot.py',
    '../_base_/schedules/ibot_adamw-coslr-100e.py'
]
