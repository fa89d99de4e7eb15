"""OverlayRunner: MMEngine's runner with overlays and the hooks of the house."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.runner import Runner

from amt_mm.registry import RUNNERS

from .house_hooks import with_house_hooks
from .overlay import apply_overlay


@RUNNERS.register_module()
class OverlayRunner(Runner):
    """Applies the config's overlay and adds the hooks of the house; else MMEngine's runner.

    Configs of amt_mm and overlay files set ``runner_type`` to this class, so every
    OpenMMLab tool that builds its runner from the config gets it.
    """

    @classmethod
    def from_cfg(cls, cfg: Config) -> OverlayRunner:
        """Build from a config; the one that is dumped to the work_dir is the merged one."""
        return super().from_cfg(apply_overlay(cfg))

    def register_hooks(self, default_hooks: dict | None = None, custom_hooks: list | None = None
                       ) -> None:
        """Register the config's hooks and those of :mod:`amt_mm.engine.house_hooks`."""
        super().register_hooks(with_house_hooks(default_hooks, custom_hooks), custom_hooks)
