"""`minisrgan vgg fetch` against a server that breaks off, forgets, refuses and lies."""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from safetensors.numpy import save

from minisrgan.cli import main as cli
from minisrgan.errors import ConfigError, WeightsError
from minisrgan.models.vgg import SMALL
from minisrgan.weights import fetch as vgg_fetch
from minisrgan.weights import vgg as vgg_weights
from minisrgan.weights.fetch import SHA256, fetch, file_name
from minisrgan.weights.vgg import load_content, load_vgg, open_vgg, shapes

THIN19 = ((2,) * 2, (2,) * 2, (3,) * 4, (3,) * 4, (4,) * 4)
HTML = b"<!DOCTYPE html><html>Sorry, no.</html>"


@pytest.fixture(autouse=True)
def thin(monkeypatch, tmp_path):
    """A VGG19 with few channels, a cache for the test alone, and no pauses."""
    monkeypatch.setattr(vgg_weights, "NAMES", {THIN19: "VGG19", SMALL: "VGG small"})
    monkeypatch.setattr(vgg_fetch, "NAMES", vgg_weights.NAMES)
    monkeypatch.setattr(vgg_weights.fetched, "__defaults__", (THIN19,))
    monkeypatch.setenv("MINISRGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(vgg_fetch, "PAUSE", 0)
    monkeypatch.setattr(vgg_fetch, "PIECE", 500)


@pytest.fixture(scope="module")
def data():
    """The bytes of a VGG19's file, which do not say the family."""
    rng = np.random.default_rng(0)
    return save({name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes(THIN19).items()})


@pytest.fixture
def server():
    """A server of `server.data` that follows `server.plan`, a behaviour for each request, the last one for ever."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append(self.headers.get("Range"))
            server.plan[min(len(server.asked), len(server.plan)) - 1](self, server.data)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.data, server.plan, server.asked = b"", [whole], []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def answer(handler, status, body, length=None, **headers):
    handler.send_response(status)
    if length != "unsaid":
        handler.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def whole(handler, data):
    """The behaviour of a good server."""
    start = int((re.match(r"bytes=(\d+)-$", handler.headers.get("Range", "bytes=0-")))[1])
    if start >= len(data):
        answer(handler, 416, b"", Content_Range=f"bytes */{len(data)}")
    elif start:
        answer(handler, 206, data[start:], Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")
    else:
        answer(handler, 200, data)


def breaks_after(count):
    """The behaviour of a server that announces all bytes, and sends only so many."""

    def behave(handler, data):
        start = int((re.match(r"bytes=(\d+)-$", handler.headers.get("Range", "bytes=0-")))[1])
        rest = data[start:]
        where = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        answer(handler, 206 if start else 200, rest[:count], len(rest), **where)

    return behave


def ignores_range(handler, data):
    answer(handler, 200, data)


def ignores_range_and_breaks(handler, data):
    answer(handler, 200, data[:3000], len(data))


def garbage(handler, data):
    answer(handler, 200, HTML)


def missing(handler, data):
    answer(handler, 404, b"<html>404</html>")


def another_part(handler, data):
    answer(handler, 206, data[7:], Content_Range=f"bytes 7-{len(data) - 1}/{len(data)}")


def unsaid_part(handler, data):
    answer(handler, 206, data)


def without_length(handler, data):
    answer(handler, 200, data, "unsaid")


def nonsense_length(handler, data):
    answer(handler, 200, data, "many")


def endless(handler, data):
    answer(handler, 200, bytes(10_000), "unsaid")


def closes(handler, data):
    handler.close_connection = True


def url_of(server, name=None):
    name = name or f"vgg19-{hashlib.sha256(server.data).hexdigest()[:8]}.pth"
    return f"http://127.0.0.1:{server.server_port}/models/{name}"


def get(server, name=None):
    lines = []
    path = fetch(url_of(server, name), family="torchvision", bar=False, say=lines.append)
    assert lines == [f"{path}: the convolutions of VGG19, family torchvision"]
    return path


def kept(tmp_path):
    """The names of the files in the cache."""
    folder = tmp_path / "cache"
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def is_whole(path, data, tmp_path):
    path.with_name("source").write_bytes(data)
    mine, theirs = load_vgg(path), load_vgg(path.with_name("source"), family="torchvision")
    path.with_name("source").unlink()
    assert mine.config == theirs.config
    assert all(np.array_equal(a, b) for a, b in zip(mine.state().values(), theirs.state().values(), strict=True))
    assert kept(tmp_path).keys() == {"vgg19.safetensors"}
    return True


@pytest.mark.parametrize(
    "plan, asked",
    [
        ([whole], [None]),
        ([breaks_after(1000), whole], [None, "bytes=1000-"]),
        ([breaks_after(1000), breaks_after(700), breaks_after(0), whole], [None, "1000", "1700", "1700"]),
        ([breaks_after(1000), ignores_range], [None, "1000"]),
        ([breaks_after(1000), closes, whole], [None, "1000", "1000"]),
        ([breaks_after(1000), another_part, whole], [None, "1000", "1000"]),
        ([breaks_after(1000), unsaid_part, whole], [None, "1000", "1000"]),
        ([ignores_range_and_breaks, ignores_range_and_breaks, whole], [None, "3000", "3000"]),
        ([without_length], [None]),
        ([nonsense_length], [None]),
    ],
)
def test_whatever_the_server_does_the_file_is_whole_in_the_end(server, data, tmp_path, plan, asked):
    server.data, server.plan = data, plan
    assert is_whole(get(server), data, tmp_path)
    expected = [each and f"bytes={each.removeprefix('bytes=').removesuffix('-')}-" for each in asked]
    assert server.asked == expected


def test_many_breaks_are_overcome_as_long_as_something_arrives(server, data, tmp_path):
    server.data, server.plan = data, [breaks_after(len(data) // 20)]
    assert is_whole(get(server), data, tmp_path)
    assert len(server.asked) == 21 or len(server.asked) == 20


def test_a_later_call_goes_on_where_one_ended(server, data, tmp_path):
    server.data, server.plan = data, [breaks_after(1000), closes]
    with pytest.raises(WeightsError, match="call again to go on"):
        get(server)
    (part,) = kept(tmp_path).values()
    assert part == data[:1000] and len(server.asked) == 1 + vgg_fetch.TRIES
    server.plan, server.asked = [whole], []
    assert is_whole(get(server), data, tmp_path)
    assert server.asked == ["bytes=1000-"]


def test_a_part_that_is_all_there_already(server, data, tmp_path):
    server.data = data
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / f"{file_name(url_of(server))}.part").write_bytes(data)
    assert is_whole(get(server), data, tmp_path)
    assert server.asked == [f"bytes={len(data)}-"]


def test_a_part_longer_than_the_file_is_begun_anew(server, data, tmp_path):
    server.data = data
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / f"{file_name(url_of(server))}.part").write_bytes(data + b"more")
    assert is_whole(get(server), data, tmp_path)
    assert server.asked == [f"bytes={len(data) + 4}-", None]


def test_a_server_that_always_breaks_off_and_never_resumes_is_given_up(server, data, tmp_path):
    server.data, server.plan = data, [ignores_range_and_breaks]
    with pytest.raises(WeightsError, match=r"broke off after 3,000 of [\d,]+ bytes; call again"):
        get(server)
    assert len(server.asked) == 1 + vgg_fetch.TRIES


def tagged(tag, behave=whole):
    """The behaviour of a server that has an ETag."""

    def with_tag(handler, data):
        end = handler.end_headers
        handler.end_headers = lambda: (handler.send_header("ETag", tag), end())
        behave(handler, data)

    return with_tag


@pytest.mark.parametrize("old, new", [('"a"', '"b"'), ('W/"a"', 'W/"a"'), ("a", "a")])
def test_a_half_of_another_file_is_not_gone_on_with(server, data, tmp_path, old, new):
    """The server sends the requested part whatever the condition. (A weak tag does not promise the same bytes.)"""
    server.data, server.plan = bytes(len(data)), [tagged(old, breaks_after(1000)), closes]
    with pytest.raises(WeightsError, match="call again to go on"):
        get(server, "vgg19.safetensors")
    server.data, server.plan, server.asked = data, [tagged(new)], []
    assert is_whole(get(server, "vgg19.safetensors"), data, tmp_path)
    assert server.asked[-1] is None


def test_a_half_of_the_same_file_is_gone_on_with(server, data, tmp_path):
    server.data, server.plan = data, [tagged('"a"', breaks_after(1000)), tagged('"a"')]
    assert is_whole(get(server, "vgg19.safetensors"), data, tmp_path)
    assert server.asked == [None, "bytes=1000-"]


def test_two_downloads_of_one_file_do_not_mix(server, data, tmp_path):
    server.data = data
    with vgg_fetch.locked(tmp_path / "vgg19.safetensors.part", "") as file:
        file.write(b"half")
        (tmp_path / "cache").mkdir()
        (tmp_path / "vgg19.safetensors.part").rename(tmp_path / "cache" / "vgg19.safetensors.part")
        with pytest.raises(WeightsError, match="another process is downloading it"):
            get(server, "vgg19.safetensors")
        assert kept(tmp_path) == {"vgg19.safetensors.part": b"half"} and server.asked == []
    assert get(server, "vgg19.safetensors")


@pytest.mark.parametrize("start, to, refused", [
    ("https", "http://host/v.pth", True), ("https", "file:///etc/passwd", True), ("http", "ftp://host/v.pth", True),
    ("https", "https://host/v.pth", False), ("http", "https://host/v.pth", False), ("http", "http://host/v.pth", False),
])  # fmt: skip
def test_an_encrypted_connection_stays_encrypted(start, to, refused):
    request = vgg_fetch.Request(f"{start}://first/v.pth")
    if refused:
        with pytest.raises(WeightsError, match="not safe"):
            vgg_fetch.SafeRedirects().redirect_request(request, None, 302, "", {}, to)
    else:
        assert vgg_fetch.SafeRedirects().redirect_request(request, None, 302, "", {}, to).full_url == to


def test_what_a_server_says_moves_no_cursor(server, capsys):
    def escapes(handler, data):
        handler.send_response(404, "\x1b[2J\x1b]0;owned\x07 no")
        handler.end_headers()

    server.plan = [escapes]
    assert cli.main(["vgg", "fetch", "--url", url_of(server)]) == 2
    assert capsys.readouterr().err.rstrip("\n").splitlines()[-1].isprintable()


def test_the_whole_hash_of_the_default_file_is_known(tmp_path):
    assert SHA256[file_name(vgg_fetch.URL)].startswith("dcbb9e9d") and len(SHA256[file_name(vgg_fetch.URL)]) == 64
    (path := tmp_path / "vgg19-dcbb9e9d.pth").write_bytes(b"")
    with pytest.raises(WeightsError, match="its name says dcbb9e9d"):
        vgg_fetch.check_hash(path, path.name)


@pytest.mark.parametrize("begun", [False, True])
def test_404(server, data, tmp_path, begun):
    server.data, server.plan = data, [breaks_after(1000), missing] if begun else [missing]
    with pytest.raises(WeightsError, match=r"the server answers 404 Not Found: give another --url, .* --from"):
        get(server)
    assert [*kept(tmp_path).values()] == [data[: 1000 * begun]] and len(server.asked) == 1 + begun


def test_garbage_is_named_and_thrown_away(server, data, tmp_path):
    server.data, server.plan = data, [garbage]
    with pytest.raises(
        WeightsError, match=r"SHA-256 begins with [0-9a-f]{8}, but its name says [0-9a-f]{8}: .*web page"
    ):
        get(server)
    assert kept(tmp_path) == {}
    server.plan = [breaks_after(1000), garbage]  # another answer to the rest
    server.asked.clear()
    with pytest.raises(WeightsError, match="web page"):
        get(server)
    assert kept(tmp_path) == {}


def test_a_part_of_another_file_is_found_out_by_the_hash(server, data, tmp_path):
    server.data = data
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / f"{file_name(url_of(server))}.part").write_bytes(b"x" * 1000)
    with pytest.raises(WeightsError, match="damaged or another file: get it again"):
        get(server)
    assert kept(tmp_path) == {}
    assert is_whole(get(server), data, tmp_path)  # and the next call gets it


def test_a_name_without_a_hash_is_read_all_the_same_but_must_be_a_vgg(server, data, tmp_path):
    server.data = data
    assert is_whole(get(server, "vgg19.safetensors"), data, tmp_path)
    server.plan = [garbage]
    with pytest.raises(WeightsError, match="web page"):
        get(server, "vgg19.safetensors")
    assert kept(tmp_path).keys() == {"vgg19.safetensors"}  # the good one of before


def test_a_file_without_an_end_is_given_up(server, monkeypatch, data, tmp_path):
    server.data, server.plan = data, [endless]
    monkeypatch.setattr(vgg_fetch, "MOST", 5000)
    with pytest.raises(WeightsError, match="larger than any VGG"):
        get(server)
    assert [*kept(tmp_path).values()] == [b""]


def test_nobody_there(tmp_path, server):
    port = server.server_port
    server.shutdown()
    server.server_close()
    with pytest.raises(WeightsError, match="refused.*--from"):
        fetch(f"http://127.0.0.1:{port}/vgg19-dcbb9e9d.pth", bar=False)


@pytest.mark.parametrize(
    "url",
    ["vgg19.pth", "file:///etc/passwd", "http://", "http://host/", "ftp://host/vgg.pth", "http://[/v", "", "http:///v"]
    + ["http://host:x/v", "http://host:99999/v", "http://a..b/v", "http://höst/v", "http://host/v v", "http://host/\n"]
    + [
        "http://host/%1b[2Jv",
        "http://host/%00",
        "http://host/..",
        "http://host/" + 300 * "v",
        "http://" + 70 * "a" + "/v",
    ],
)
def test_what_is_no_address(url):
    with pytest.raises(ConfigError, match="not the address of a file"):
        fetch(url, bar=False)


def test_torchvisions_address_carries_its_hash():
    assert file_name(vgg_fetch.URL) == "vgg19-dcbb9e9d.pth"


def test_a_cache_that_cannot_be_written_is_no_fault_of_the_server(server, data, tmp_path):
    (tmp_path / "cache").write_text("a file")
    server.data = data
    with pytest.raises(OSError):
        get(server)
    assert server.asked == []


# --from, and the command


def test_from_a_file_that_is_here(data, tmp_path, capsys):
    digest = hashlib.sha256(data).hexdigest()
    good, bad = tmp_path / f"vgg19-{digest[:8]}.pth", tmp_path / "vgg19-00000000.pth"
    for path in (good, bad):
        path.write_bytes(data)
    assert cli.main(["vgg", "fetch", "--from", str(bad), "--family", "caffe"]) == 2
    assert "but its name says 00000000" in capsys.readouterr().err and kept(tmp_path) == {}
    assert cli.main(["vgg", "fetch", "--from", str(good)]) == 2
    assert "--family" in capsys.readouterr().err
    assert cli.main(["vgg", "fetch", "--from", str(good), "--family", "caffe"]) == 0
    assert "the convolutions of VGG19, family caffe" in capsys.readouterr().out
    assert open_vgg(tmp_path / "cache" / "vgg19.safetensors")[0].family == "caffe"
    assert good.exists() and bad.exists() and len(load_content("vgg22").features) == 9


def test_the_command_shows_its_progress(server, data, tmp_path, capsys):
    server.data, server.plan = data, [breaks_after(1000), whole]
    assert cli.main(["vgg", "fetch", "--url", url_of(server), "--family", "torchvision"]) == 0
    out, err = capsys.readouterr()
    assert "vgg19.safetensors" in out and "100%" in err and "Traceback" not in err
    assert cli.main(["vgg", "fetch", "--url", url_of(server, "none.pth") + "?x"]) == 2  # whole, but says no family
    assert "--family" in capsys.readouterr().err
