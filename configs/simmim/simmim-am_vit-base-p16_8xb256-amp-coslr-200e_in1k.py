# SimMIM + AM: attention-driven masking 60/0, nothing thrown, 200 epochs.
# Liu et al., AAAI 2023, Tables 1 and 2. Expected: 81.5 fine-tuned on ImageNet-1K; 78.8 fine-tuned
# on Tiny ImageNet, at about the same cost as SimMIM.
#   bash tools/dist_train.sh configs/simmim/simmim-am_vit-base-p16_8xb256-amp-coslr-200e_in1k.py 8
_base_ = [
    '../_base_/models/simmim_vit-base-p16.py', '../_base_/datasets/imagenet_bs256_simmim_224.py',
    '../_base_/schedules/simmim_adamw-coslr-200e.py', '../_base_/amt/simmim-am.py'
]
