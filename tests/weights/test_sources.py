import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from xseg.config import shipped_configs
from xseg.weights import PUBLISHED
from xseg.weights.sources import cache_folder, download, locate

DATA = bytes(range(256)) * 8000  # 2 MB


class Server(BaseHTTPRequestHandler):
    """Serves DATA with ranges; `cut` stops an answer half-way, as a lost connection does."""

    cut = None
    asked: ClassVar[list[int]] = []

    def do_GET(self):
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        Server.asked.append(start)
        if start >= len(DATA):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(DATA) - start))
        self.end_headers()
        self.wfile.write(DATA[start : Server.cut])

    def log_message(self, *_): ...


@pytest.fixture
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Server.cut, Server.asked = None, []
    yield f"http://127.0.0.1:{server.server_port}/weights.bin"
    server.shutdown()
    server.server_close()


def test_a_download_goes_on_where_it_broke_off(url, tmp_path):
    target = tmp_path / "cache" / "weights.bin"
    Server.cut = 1_500_000
    with pytest.raises(ConnectionError, match="ended at byte 1500000 of 2048000"):
        download(url, target)
    assert not target.exists()
    Server.cut = None
    assert download(url, target).read_bytes() == DATA
    assert Server.asked == [0, 1_500_000]
    assert sorted(path.name for path in target.parent.iterdir()) == ["weights.bin", "weights.bin.sha256"]
    download(url, target)
    assert len(Server.asked) == 2  # it was there


def test_a_part_that_is_whole_already(url, tmp_path):
    (tmp_path / "weights.bin.part").write_bytes(DATA)
    assert download(url, tmp_path / "weights.bin").read_bytes() == DATA


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_published_digest_is_checked(url, tmp_path, kind):
    right = hashlib.new(kind, DATA).hexdigest()
    download(url, tmp_path / "right.bin", f"{kind}:{right}")
    with pytest.raises(ValueError, match=f"{kind} is {right}, but should be 0000"):
        download(url, tmp_path / "wrong.bin", f"{kind}:0000")
    assert [path.name for path in tmp_path.glob("wrong*")] == []


def test_a_file_that_changed_after_its_first_download_is_refused(url, tmp_path):
    target = download(url, tmp_path / "weights.bin")
    target.write_bytes(DATA[:-1])
    with pytest.raises(ValueError, match=r"weights.bin: sha256 is .* delete the file to fetch it again"):
        download(url, target)


def test_without_a_network_the_error_says_which_file_to_put_where(tmp_path):
    with pytest.raises(ConnectionError, match=r"fetch it on another machine and put it at .*w\.bin"):
        download("http://127.0.0.1:9/w.bin", tmp_path / "w.bin")


def test_a_published_name_is_fetched_into_the_cache(url, tmp_path, monkeypatch):
    monkeypatch.setenv("XSEG_CACHE", str(tmp_path))
    monkeypatch.setitem(PUBLISHED, "mine", PUBLISHED["xception_cadene"]._replace(url=url))
    assert locate("mine") == tmp_path / "weights.bin" == cache_folder() / "weights.bin"
    (tmp_path / "mine").write_text("")
    assert locate(tmp_path / "mine") == tmp_path / "mine"  # a file of that name comes first


def test_a_misspelt_name_is_told_with_what_was_meant():
    with pytest.raises(FileNotFoundError, match="did you mean deeplabv3plus_xception65_voc"):
        locate("deeplabv3plus_xception65_vok")
    with pytest.raises(FileNotFoundError, match="xseg weights list"):
        locate("no/such.pth")


@pytest.mark.parametrize("address", ["hf:nobody/nothing", "timm:xception65.ra3_in1k"])
def test_the_hub_without_a_network(address, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConnectionError, match=r"huggingface.co/.*/model.safetensors on another machine"):
        locate(address)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_row_is_filled_in(name):
    row = PUBLISHED[name]
    assert row.config in shipped_configs()
    assert row.url.startswith("http") and row.licence and row.metric
    assert row.digest == "" or row.digest.startswith(("md5:", "sha256:"))
