# SimMIM + AMT: mask 44 %, throw 26 %, 200 epochs; 144 of 196 tokens are encoded; a guided step has
# .73 of SimMIM's compute.
# Liu et al., AAAI 2023, Tables 1 and 2. Expected: 80.7 fine-tuned on ImageNet-1K; 75.8 fine-tuned
# on Tiny ImageNet, at about .76 of SimMIM's cost.
#   bash tools/dist_train.sh configs/simmim/simmim-amt_vit-base-p16_8xb256-amp-coslr-200e_in1k.py 8
_base_ = [
    '../_base_/models/simmim_vit-base-p16.py', '../_base_/datasets/imagenet_bs256_simmim_224.py',
    '../_base_/schedules/simmim_adamw-coslr-200e.py', '../_base_/amt/simmim-amt.py'
]
