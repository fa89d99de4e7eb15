"""OverlayRunner: MMEngine's runner for configs that carry an overlay."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.runner import Runner

from amt_mm.registry import RUNNERS

from .overlay import apply_overlay


@RUNNERS.register_module()
class OverlayRunner(Runner):
    """Applies the config's overlay, then is MMEngine's runner.

    Overlay files set ``runner_type`` to this class, so every OpenMMLab tool that
    builds its runner from the config gets it.
    """

    @classmethod
    def from_cfg(cls, cfg: Config) -> OverlayRunner:
        """Build from a config; the one that is dumped to the work_dir is the merged one."""
        return super().from_cfg(apply_overlay(cfg))
