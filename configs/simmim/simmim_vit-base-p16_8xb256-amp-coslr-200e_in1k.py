# SimMIM, random masking 60/0, ViT-B/16, 200 epochs on ImageNet-1K.
# Xie et al., CVPR 2022; the baseline of Tables 1 and 2 in Liu et al., AAAI 2023. Expected: 81.5
# fine-tuned on ImageNet-1K; 74.0 fine-tuned on Tiny ImageNet, at cost 1.
#   bash tools/dist_train.sh configs/simmim/simmim_vit-base-p16_8xb256-amp-coslr-200e_in1k.py 8
_base_ = [
    '../_base_/models/simmim_vit-base-p16.py', '../_base_/datasets/imagenet_bs256_simmim_224.py',
    '../_base_/schedules/simmim_adamw-coslr-200e.py', '../_base_/amt/simmim-random.py'
]
