"""printable: no control of a terminal, and nothing that cannot be encoded, is left."""

import pytest

from amt_mm.printable import one_line, printable


@pytest.mark.parametrize('code', [*range(9), 11, 12, 13, *range(14, 32), *range(127, 160), 0x200e,
                                  0x202e, 0x2066, 0xd800, 0xdc80, 0xdcff, 0xdfff])
def test_what_is_not_fit_is_written_as_python_writes_it(code):
    text = printable(f'a{chr(code)}b')
    assert text.isascii() and text.isprintable()
    assert eval(f"'{text}'") == f'a{chr(code)}b'


def test_other_text_stays():
    text = 'Größe\t→ 7 µm ± 2, 猫 😀\nand a line \\x1b'
    assert printable(text) == text


def test_a_line_has_no_end_in_it():
    assert one_line('a\nerror: \tb\x1b') == 'a\\nerror: \tb\\x1b'
