# MAE + AMT: mask 45 %, throw 40 %, 400 epochs; a guided step costs .59 of mmpretrain's MAE.
# Liu et al., AAAI 2023, Table 1. Expected: 61.7 linear, 82.8 fine-tuned on ImageNet-1K.
# The authors' code differs: mae-amt-no-norm-pix_ (plain pixels), mae-amt-as-released_ (all of it).
#   bash tools/dist_train.sh configs/mae/mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k.py 8
_base_ = ['./mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py', '../_base_/amt/mae-amt.py']
