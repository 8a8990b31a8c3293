import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models.perception.fetch import fetch, is_public, pinned_address
from models.perception.media import local_copy
from models.settings import MediaSettings
from streams.ports import BadMedia, PerceptionUnavailable

HOST = "clips.example.com"
CLIP = b"a clip, for all that a fetch knows"


class Clips(ThreadingHTTPServer):
    """A host of clips on loopback; its redirects lead where `target` says."""

    target = ""
    failures = 0
    hosts: list[str]
    ended: threading.Event

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up, which is what limits do."""


class Answer(BaseHTTPRequestHandler):
    server: Clips

    def do_GET(self) -> None:
        self.server.hosts.append(self.headers["host"])
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("location", self.server.target)
            self.end_headers()
            return
        if self.path == "/busy" and self.server.failures:
            self.server.failures -= 1
            self.send_error(503)
            return
        if self.path == "/huge":
            self.send_response(200)
            self.send_header("content-length", str(10**10))
            self.end_headers()
            return
        if self.path == "/slow-headers":
            with suppress(OSError):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
                while not self.server.ended.wait(0.05):
                    self.wfile.write(b"a")
            return
        if self.path == "/gone":
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(CLIP)
        while self.path == "/endless":
            self.wfile.write(bytes(65_536))

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output to the tests."""


@pytest.fixture
def clips() -> Iterator[Clips]:
    server = Clips(("127.0.0.1", 0), Answer)
    server.hosts, server.ended = [], threading.Event()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.ended.set()
    server.shutdown()
    server.server_close()


def names(host: str) -> list[str]:
    """Resolve the host of clips to loopback, and an address to itself."""
    return ["127.0.0.1"] if host == HOST else [host]


def uri(server: Clips, path: str) -> str:
    return f"http://{HOST}:{server.server_port}{path}"


SETTINGS = MediaSettings(private_hosts=(HOST,), fetch_timeout_s=5)


def test_a_clip_is_fetched_from_the_address_its_name_had(clips: Clips, tmp_path: Path) -> None:
    asked: list[str] = []

    def resolve(host: str) -> list[str]:
        asked.append(host)
        return names(host)

    fetch(uri(clips, "/clip"), SETTINGS, tmp_path / "clip", resolve=resolve)
    assert (tmp_path / "clip").read_bytes() == CLIP
    assert asked == [HOST], "resolved once: a second answer could differ from the one that was checked"
    assert clips.hosts == [f"{HOST}:{clips.server_port}"], "the server still hears the name"


def test_a_redirect_to_another_path_is_followed(clips: Clips, tmp_path: Path) -> None:
    clips.target = "/clip"
    fetch(uri(clips, "/moved"), SETTINGS, tmp_path / "clip", resolve=names)
    assert (tmp_path / "clip").read_bytes() == CLIP


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/clip",
        "http://169.254.169.254/latest",
        "http://[::1]:{port}/clip",
        "http://[::ffff:127.0.0.1]:{port}/clip",
    ],
)
def test_a_redirect_to_a_private_host_is_refused(clips: Clips, tmp_path: Path, target: str) -> None:
    clips.target = target.format(port=clips.server_port)
    with pytest.raises(BadMedia, match="expected a public host"):
        fetch(uri(clips, "/moved"), SETTINGS, tmp_path / "clip", resolve=names)
    assert len(clips.hosts) == 1


def test_a_redirect_to_a_file_is_refused(clips: Clips, tmp_path: Path) -> None:
    clips.target = "file:///etc/passwd"
    with pytest.raises(BadMedia, match="expected a redirect to http or https, got scheme 'file'"):
        fetch(uri(clips, "/moved"), SETTINGS, tmp_path / "clip", resolve=names)


def test_redirects_in_a_circle_end(clips: Clips, tmp_path: Path) -> None:
    clips.target = "/moved"
    with pytest.raises(BadMedia, match=r"media.max_redirects"):
        fetch(uri(clips, "/moved"), SETTINGS, tmp_path / "clip", resolve=names)
    assert len(clips.hosts) == SETTINGS.max_redirects + 1


def test_a_name_with_one_private_address_among_others_is_refused() -> None:
    with pytest.raises(BadMedia, match=r"'evil.example.com' at 10.0.0.1"):
        pinned_address("evil.example.com", MediaSettings(), lambda host: ["93.184.215.14", "10.0.0.1"])


def test_an_endless_answer_ends_at_the_limit(clips: Clips, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"max_bytes": 1_000_000})
    with pytest.raises(BadMedia, match=r"at most 1000000 bytes \(media.max_bytes\)"):
        fetch(uri(clips, "/endless"), settings, tmp_path / "clip", resolve=names)
    assert (tmp_path / "clip").stat().st_size <= 1_000_000


def test_a_slow_answer_ends_at_the_deadline(clips: Clips, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"max_bytes": 10**12, "fetch_timeout_s": 0.05})
    with pytest.raises(BadMedia, match=r"media.fetch_timeout_s"):
        fetch(uri(clips, "/endless"), settings, tmp_path / "clip", resolve=names)


def test_headers_that_never_end_are_cut_off_at_the_deadline(clips: Clips, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"fetch_timeout_s": 0.5})
    with pytest.raises(BadMedia, match=r"expected to be fetched in 0.5 s \(media.fetch_timeout_s\), got 0 bytes"):
        fetch(uri(clips, "/slow-headers"), settings, tmp_path / "clip", resolve=names)


def test_a_name_that_is_looked_up_too_long_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    found = threading.Event()

    def slowly(host: str) -> list[str]:
        found.wait(30.0)
        return [host]

    began = time.monotonic()
    with pytest.raises(BadMedia, match=r"media.fetch_timeout_s"):
        fetch(f"http://{HOST}/clip", SETTINGS.model_copy(update={"fetch_timeout_s": 0.1}), tmp_path / "clip", resolve=slowly)
    assert time.monotonic() - began < 20.0, "it did not wait for the name"
    found.set()


def test_a_length_past_the_limit_is_refused_before_a_byte_of_it_comes(clips: Clips, tmp_path: Path) -> None:
    with pytest.raises(BadMedia, match=r"media.max_bytes\), got 10000000000 announced"):
        fetch(uri(clips, "/huge"), SETTINGS, tmp_path / "clip", resolve=names)
    assert not (tmp_path / "clip").exists()


def test_a_name_that_changes_its_address_between_two_hops_is_checked_at_each(clips: Clips, tmp_path: Path) -> None:
    answers = [["127.0.0.1"], ["10.0.0.1"]]
    clips.target = f"http://changing.example.com:{clips.server_port}/clip"
    settings = SETTINGS.model_copy(update={"private_hosts": (HOST,)})
    with pytest.raises(BadMedia, match=r"'changing.example.com' at 10.0.0.1"):
        fetch(uri(clips, "/moved"), settings, tmp_path / "clip", resolve=lambda host: answers.pop(0))
    assert len(clips.hosts) == 1


def test_a_disk_that_takes_nothing_says_nothing_of_the_media(clips: Clips, tmp_path: Path) -> None:
    with pytest.raises(PerceptionUnavailable, match="can't be kept here now"):
        fetch(uri(clips, "/clip"), SETTINGS, tmp_path / "no folder" / "clip", resolve=names)


def test_a_busy_server_is_asked_again(clips: Clips, tmp_path: Path) -> None:
    clips.failures = 1
    fetch(uri(clips, "/busy"), SETTINGS, tmp_path / "clip", resolve=names)
    assert (tmp_path / "clip").read_bytes() == CLIP


def test_a_clip_that_is_gone_is_not_asked_for_again(clips: Clips, tmp_path: Path) -> None:
    with pytest.raises(BadMedia, match="404"):
        fetch(uri(clips, "/gone"), SETTINGS, tmp_path / "clip", resolve=names)
    assert len(clips.hosts) == 1


def test_a_fetched_copy_is_gone_afterwards(clips: Clips) -> None:
    with local_copy(uri(clips, "/clip"), SETTINGS, resolve=names) as path:
        assert path.read_bytes() == CLIP
    assert not path.exists()


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)
