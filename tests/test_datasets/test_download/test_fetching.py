import hashlib
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from amt_mm.datasets.download import fetch, verify
from amt_mm.errors import InputError

CONTENT = bytes(range(256)) * 40
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serve CONTENT as the attributes of the server say."""

    def do_GET(self):
        server = self.server
        server.ranges.append(self.headers.get('Range'))
        body, status, start = server.body, 200, 0
        asked = re.match(r'bytes=(\d+)-', self.headers.get('Range', ''))
        if self.path != '/data.bin':
            self.send_error(404)
            return
        if asked and server.manner != 'no ranges':
            start, status = int(asked[1]), 206
            if start >= len(body):
                self.send_error(416)
                return
        self.send_response(status)
        if server.manner != 'no length':
            self.send_header('Content-Length', str(len(body) - start))
        if status == 206:
            named = start + 1 if server.manner == 'wrong range' else start
            self.send_header('Content-Range', f'bytes {named}-{len(body) - 1}/{len(body)}')
        self.end_headers()
        end = len(body)
        if server.manner == 'breaks off' and len(server.ranges) == 1:
            end = 3000
        self.wfile.write(body[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.manner, server.body, server.ranges = 'ranges', CONTENT, []
    server.url = f'http://127.0.0.1:{server.server_port}/data.bin'
    # Shutting down takes one poll.
    threading.Thread(target=server.serve_forever, args=(.01, ), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'data.bin'


def part_of(path):
    return path.with_name('data.bin.part')


def get(server, path):
    fetch(server.url, path, len(CONTENT), MD5)


def fails(server, path, message):
    with pytest.raises(InputError, match=message) as caught:
        get(server, path)
    assert '\n' not in str(caught.value)
    assert not path.exists()


@pytest.mark.parametrize('manner', ['ranges', 'no ranges', 'no length'])
@pytest.mark.parametrize('there', [None, 0, 1, 5000, len(CONTENT) - 1, len(CONTENT),
                                   len(CONTENT) + 7])
def test_the_file_is_complete_whatever_was_there(server, path, manner, there):
    server.manner = manner
    if there is not None:
        part_of(path).write_bytes((CONTENT + b'further')[:there])
    get(server, path)
    assert path.read_bytes() == CONTENT
    assert not part_of(path).exists()
    if there == len(CONTENT):
        assert server.ranges == [], 'nothing is missing'
    else:
        resumes = there in (1, 5000, len(CONTENT) - 1)
        assert server.ranges == [f'bytes={there}-' if resumes else None]


def test_a_lost_connection_keeps_what_was_received(server, path):
    server.manner = 'breaks off'
    fails(server, path, 'the connection was lost after 3000 of 10240 bytes; run the command again')
    assert part_of(path).read_bytes() == CONTENT[:3000]
    get(server, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, 'bytes=3000-']


def test_a_wrong_checksum_deletes_what_was_received(server, path):
    server.body = CONTENT[:-1] + b'!'
    fails(server, path, rf'data.bin: .*its md5 is \w+ instead of {MD5}.*; it was deleted')
    assert not part_of(path).exists()
    server.body = CONTENT
    get(server, path)


def test_a_part_of_another_file_is_deleted(server, path):
    part_of(path).write_bytes(b'x' * 100)
    fails(server, path, 'md5')
    get(server, path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize('body', [b'<html>Sign in</html>', CONTENT + b'more'])
def test_another_length_stops_before_anything_is_written(server, path, body):
    server.body = body
    part_of(path).write_bytes(CONTENT[:8])
    fails(server, path, f'has {len(body)} bytes instead of {len(CONTENT)},')
    assert part_of(path).read_bytes() == CONTENT[:8]


def test_too_many_bytes_without_a_length(server, path):
    server.body, server.manner = CONTENT + b'more', 'no length'
    fails(server, path, 'has more than 10240 bytes')


def test_another_range_than_requested(server, path):
    server.manner = 'wrong range'
    part_of(path).write_bytes(CONTENT[:8])
    fails(server, path, 'sent a byte range that was not requested')


def test_a_file_on_the_server_that_is_shorter_than_the_part(server, path):
    server.body = CONTENT[:50]
    part_of(path).write_bytes(CONTENT[:80])
    fails(server, path, 'the server responds 416')


def test_no_such_address(server, path):
    server.url += 'x'
    fails(server, path, 'data.binx: the server responds 404 Not Found; .*--url')


def test_no_connection(path):
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))
        url = f'http://127.0.0.1:{unused.getsockname()[1]}/data.bin'
        with pytest.raises(InputError, match=r'no connection \(.*refused.*--archive'):
            fetch(url, path, 1, MD5)
    with pytest.raises(InputError, match='no connection.*--archive'):
        fetch('http://no.such.host.invalid/data.bin', path, 1, MD5)


@pytest.mark.parametrize('url', ['file:///etc/hosts', 'ftp://host/data.bin', 'data.bin'])
def test_other_kinds_of_address(path, url):
    with pytest.raises(InputError, match='must start with http:// or https://'):
        fetch(url, path, 1, MD5)


def test_verify(path):
    with pytest.raises(InputError, match='data.bin: does not exist'):
        verify(path, MD5)
    path.write_bytes(CONTENT)
    verify(path, MD5)
    path.write_bytes(CONTENT[1:])
    with pytest.raises(InputError, match='it is damaged or another file'):
        verify(path, MD5)
