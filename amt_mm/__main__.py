"""``python -m amt_mm``: the command ``amt``."""

from .cli.main import main

if __name__ == '__main__':
    main()
