"""Names that the command line offers are those that the stack knows."""

from amt_mm import names
from amt_mm.checkpoints.convert_names import RULES
from amt_mm.datasets.download import SOURCES
from amt_mm.saliency.map_file import SCALES
from amt_mm.shipped import configs_folder


def test_both_sides_know_the_same_names():
    assert ('mmpretrain', *RULES) == names.NAMINGS
    assert tuple(SOURCES) == names.DOWNLOADS
    assert tuple(SCALES) == names.MAP_TYPES
    for file in (*names.DATA.values(), *names.MASKED_DATA.values(), *names.VIDEO_DATA.values()):
        assert (configs_folder() / f'_base_/datasets/labelled/{file}.py').is_file()
