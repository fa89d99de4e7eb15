"""Print results of detection next to the paper's Table 3.

Takes the JSON files that tools/test.py writes into its work folder. Rare, common and frequent
classes are columns where a result is LVIS's. The paper's figures hold for ViT-B/16 on the whole of
COCO and LVIS v1, nothing else.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from amt_mm.cli import parse_first

EXAMPLE = """
example:
  python tools/analysis_tools/detection_table.py "MAE + AMT"=work_dirs/NAME/DATE/DATE.json
"""

KINDS = {'bbox': 'box', 'segm': 'mask'}
# Of each data set: how its metric names what the paper's columns have.
NAMES = {'coco': ('mAP', 'mAP_50', 'mAP_75'), 'lvis': ('AP', 'AP50', 'AP75')}
HEADINGS = ('AP', 'AP50', 'AP75')
GROUPS = ('APr', 'APc', 'APf')


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('results', nargs='+', metavar='[NAME=]FILE',
                        help='JSON file of tools/test.py, and how to call it (default: the name '
                        'of its config\'s folder)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/detection'),
                        help='write the table to OUT.md and OUT.json (default: %(default)s)')
    return parser.parse_args()


if __name__ == '__main__':
    parse_first(parse_args)

from amt_mm.apis import launch
from amt_mm.checks import is_number
from amt_mm.config_parts import section
from amt_mm.errors import InputError
from amt_mm.evaluation.paper import TABLE_3, TABLE_3_REMARK
from amt_mm.json_files import parse_json
from amt_mm.visualization import write_table


def main() -> None:
    """Read, compare and print."""
    args = parse_args()
    with launch.one_line_errors():
        launch.require_writable(args.out)
        rows = [read_result(text) for text in args.results]
        data = list(dict.fromkeys(row['data'] for row in rows))
        rows += [paper_row(name, each) for each in data for name in TABLE_3]
        columns = {'run': 'run', 'data': 'data'}
        columns |= {f'{kind} {name}': f'{kind} {name}'
                    for kind in KINDS.values()
                    for name in HEADINGS + (GROUPS if 'lvis' in data else ())}
        formats = {name: '.1f' for name in columns if name not in ('run', 'data')}
        markdown, table = write_table(args.out, rows, columns, formats)
        print(markdown.read_text())
        if 'coco' in data:
            print(TABLE_3_REMARK)
        print(f'Also in {markdown} and {table}')


def read_result(text: str) -> dict:
    """Read one result.

    Args:
        text: ``FILE`` or ``NAME=FILE``.

    Returns:
        A row of the table, in per cent; what was not measured is None.

    Raises:
        InputError: No such file, or none of tools/test.py for COCO or LVIS.
    """
    # Folders may have the sign in their names.
    starts = [0, *(at + 1 for at, sign in enumerate(text) if sign == '=')]
    start = next((at for at in starts if os.path.isfile(text[at:])), starts[-1])
    name, path = text[:start].removesuffix('='), text[start:]
    launch.require_file(path, 'result')
    try:
        scores = section(parse_json(Path(path).read_text(encoding='utf-8')))
    except ValueError as error:
        raise InputError(f'result {path} is not one JSON object ({error}); give the file that '
                         'tools/test.py wrote') from error
    data = next((each for each in NAMES if f'{each}/bbox_{NAMES[each][0]}' in scores), None)
    if data is None:
        raise InputError(f'result {path} has no box AP of COCO or LVIS; give the file that '
                         'tools/test.py wrote for a config of configs/mmdet')
    row = {'run': name or Path(path).resolve().parents[1].name, 'data': data}
    for metric, kind in KINDS.items():
        for key, heading in zip(NAMES[data] + (GROUPS if data == 'lvis' else ()),
                                HEADINGS + (GROUPS if data == 'lvis' else ()), strict=True):
            value = scores.get(f'{data}/{metric}_{key}', -1)
            if not is_number(value):
                raise InputError(f'result {path}: {data}/{metric}_{key} is {str(value)[:60]}, not '
                                 'a number; give the file that tools/test.py wrote')
            # -1 is how pycocotools and lvis say that there is nothing to measure.
            row[f'{kind} {heading}'] = None if value < 0 else 100 * value
    return row


def paper_row(name: str, data: str) -> dict:
    """Return the paper's figures as a row of the table."""
    columns = [f'{kind} {heading}' for kind in KINDS.values() for heading in HEADINGS]
    return {'run': f'{name}, the paper', 'data': data,
            **dict(zip(columns, TABLE_3[name][data], strict=True))}


if __name__ == '__main__':
    main()
