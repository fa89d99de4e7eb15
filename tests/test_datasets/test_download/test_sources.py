import pytest
from mmpretrain.datasets import CIFAR10, CIFAR100
from torchvision.datasets import STL10

from amt_mm.datasets.download import SOURCES, clone_command, download_command

TOOL = 'amt download'


@pytest.mark.parametrize(('name', 'cls'), [('cifar10', CIFAR10), ('cifar100', CIFAR100),
                                           ('stl10', STL10)])
def test_addresses_and_checksums_match_other_libraries(name, cls):
    source = SOURCES[name]
    assert (source.url, source.filename, source.md5, source.folder) == (
        cls.url, cls.filename, cls.tgz_md5, cls.base_folder)


@pytest.mark.parametrize(('name', 'data_root', 'wanted'), [
    ('cifar10', 'data/cifar10', 'cifar10 --root data'),
    ('stl10', '/sets/stl10_binary/', 'stl10 --root /sets'),
    ('tiny-imagenet', 'tiny-imagenet-200', 'tiny-imagenet --root .'),
    ('imagenet', 'data/imagenet', 'imagenet --root data'),
    ('stl10', '/my sets/stl10_binary', "stl10 --root '/my sets'"),
    ('stl10', 'data/stl', 'stl10 --root data/stl, and set data_root to data/stl/stl10_binary'),
    ('cifar10', 'data', 'cifar10 --root data, and set data_root to data/cifar10')])
def test_the_command_matches_the_data_root(name, data_root, wanted):
    assert download_command(name, data_root) == f'{TOOL} {wanted}'


def test_arguments_come_before_the_advice():
    assert download_command('imagenet', 'x', ' --archive A') == (
        f'{TOOL} imagenet --root x --archive A, and set data_root to x/imagenet')


def test_a_folder_of_images_is_cloned_where_the_config_looks():
    assert clone_command('/my sets/clothing/') == (
        "git clone https://github.com/alexeygrigorev/clothing-dataset-small '/my sets/clothing' && "
        "mv '/my sets/clothing'/validation '/my sets/clothing'/val")
    assert clone_command('data/holidays') is None
