"""What another thread prints."""

import time


def said_soon(capsys, text, seconds=4):
    """Whether a text is printed within some seconds; what was printed until then is taken."""
    said, end = '', time.monotonic() + seconds
    while text not in said and time.monotonic() < end:
        said += capsys.readouterr().out
        time.sleep(.01)
    return text in said
