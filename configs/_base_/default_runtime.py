# Runtime of every pre-training here: mmpretrain's. What amt_mm adds (seeds, checks, progress) comes
# with its runner: amt_mm/config/default_hooks.py.
_base_ = 'mmpretrain::_base_/default_runtime.py'
