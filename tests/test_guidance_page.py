"""What docs/guidance.md shows is a config that builds, with the settings that it names."""

import re
from pathlib import Path

from amt_mm import shipped

import amt_mm.registry  # noqa: F401  isort: skip  before mmpretrain

from amt_mm.apis import comparison
from amt_mm.masking import AnnealedMaskGenerator, Weighting
from amt_mm.names import THROWS
from amt_mm.registry import TASK_UTILS
from amt_mm.saliency import SaliencySource
from lab.cost.refresh_cost import refresh_hook

PAGE = (Path(__file__).parents[1] / 'docs/guidance.md').read_text()


def test_the_config_of_the_page_builds(tmp_path):
    file = tmp_path / 'guided.py'
    text = '\n'.join(re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL))
    file.write_text(text.replace('amt_mm::', f'{shipped.configs_folder()}/'))
    cfg = comparison.resolved(str(file), {})
    generator = TASK_UTILS.build(cfg.data_preprocessor.mask_generator)
    assert generator.weighting == Weighting(temperature=2., uniform=.25)
    assert (generator.hint_ratio, generator.mask_ratio, generator.throw_ratio) == (.1, .45, .40)
    hook = refresh_hook(cfg)
    assert hook.settings.source == SaliencySource('feature', debias=True)
    assert (hook.begin, hook.interval) == (40, 40)


def test_the_page_lists_every_setting():
    for name in Weighting.__dataclass_fields__:
        assert f'`weighting.{name}`' in PAGE
    for name in (*SaliencySource.__dataclass_fields__, 'hint_ratio', 'schedule', 'begin'):
        assert f'`{name}`' in PAGE
    for name in THROWS:
        assert f"`'{name}'`" in PAGE
    assert AnnealedMaskGenerator.__name__ in PAGE
