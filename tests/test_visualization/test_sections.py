"""Sections: what is on the page and in the files."""

import re

import numpy as np
from html_page import Page
from PIL import Image
from test_report import picture

from amt_mm.visualization import Picture
from amt_mm.visualization.page import document
from amt_mm.visualization.sections import Row, Section

SECTION = Section('plan', 'Plans & <masks>', ['How to "read" it <now>.'], [
    Row('<b>a</b>.jpg', [Picture('image', picture(0)), Picture('Ünder "x" <1>', picture(1))]),
    Row('', [Picture('b.jpg', picture(2))])], columns=4, few=2)


def test_texts_are_escaped_and_every_picture_has_an_alternative():
    page = Page(document('t', [], [SECTION.html(80)]))
    for text in ('Plans & <masks>', 'How to "read" it <now>.', '<b>a</b>.jpg', 'Ünder "x" <1>'):
        assert text in page.texts
    assert [image['alt'] for image in page.images()] == [
        '<b>a</b>.jpg: image', '<b>a</b>.jpg: Ünder "x" <1>', 'b.jpg']
    strips = [attrs['style'] for _, attrs in page.tags if attrs.get('class') == 'strip']
    assert strips == ['--columns:4;--few:2'] * 2
    # A row without a name has no heading.
    assert [tag for tag, _ in page.tags].count('h3') == 1


def test_a_sheet_is_as_wide_as_it_may_be_and_scrolls():
    page = Page(Section('a', 'A', [], [Row('x', [Picture('sheet', picture(0, 90, 500))])],
                        columns=0).html(80))
    classes = [attrs.get('class') for _, attrs in page.tags]
    assert 'sheet' in classes and 'strip' not in classes
    assert 'min-width:300px' in [attrs.get('style') for _, attrs in page.tags]
    assert [image['alt'] for image in page.images()] == ['x: sheet']


def test_files_are_the_pictures(tmp_path):
    (tmp_path / 'plan').mkdir()
    for name in ('03_01_cat-of-another-folder.png', '0001.txt'):
        (tmp_path / 'plan' / name).write_bytes(b'')
    assert SECTION.save(tmp_path) == 3
    assert (tmp_path / 'plan/0001.txt').exists()
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob('*.png'))
    assert list(map(str, files)) == ['plan/01_01_image.png', 'plan/01_02_nder-x-1.png',
                                     'plan/02_01_b-jpg.png']
    assert all(re.fullmatch(r'[a-z0-9_-]+\.png', path.name) for path in files)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / files[1])), picture(1))
