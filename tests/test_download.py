"""Downloads against a server on this machine that does everything a bad mirror does."""

import errno
import hashlib
import json
import shutil
import socket
import sys
import tarfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from config.errors import DownloadError, SettingsError
from config.network import load_network
from models import download as download_module
from models.download import download
from models.published import (
    MANIFEST,
    Weights,
    allowed,
    cache_folder,
    check,
    part_of,
    read_manifest,
    read_receipt,
)
from puppetcam.cli import main

BODY = hashlib.shake_256(b"puppetcam").digest(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    server: "Mirror"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        answers = self.server.answers[self.path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]  # the last one stays
        answer(self)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass

    def begin(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def first_byte(self) -> int:
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))


class Mirror(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.answers: dict[str, list[Answer]] = {}
        self.over = threading.Event()

    def serve(self, path: str, *answers: Answer) -> str:
        self.answers[path] = list(answers)
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.asked]


def whole(body: bytes = BODY, etag: str | None = '"one"', cut: int | None = None) -> Answer:
    """A good server; with ``cut``, one whose connection ends before byte ``cut`` of the file."""

    def answer(handler: Handler) -> None:
        start = handler.first_byte()
        if handler.headers.get("If-Range", etag) != etag:
            start = 0
        marks = {"ETag": etag} if etag else {}
        if start:
            place = f"bytes {start}-{len(body) - 1}/{len(body)}"
            handler.begin(206, Content_Length=len(body) - start, Content_Range=place, **marks)
        else:
            handler.begin(200, Content_Length=len(body), **marks)
        handler.wfile.write(body[start:cut])

    return answer


def ignores_range(cut: int | None = None) -> Answer:
    def answer(handler: Handler) -> None:
        handler.begin(200, Content_Length=len(BODY))
        handler.wfile.write(BODY[:cut])

    return answer


def status(code: int, body: bytes = b"", **headers: object) -> Answer:
    def answer(handler: Handler) -> None:
        handler.begin(code, Content_Length=len(body), **headers)
        handler.wfile.write(body)

    return answer


def redirect(to: str) -> Answer:
    return status(302, Location=to)


def silent(after: int = 0) -> Answer:
    """Sends ``after`` bytes and then nothing, with the connection open."""

    def answer(handler: Handler) -> None:
        if after:
            handler.begin(200, Content_Length=len(BODY), ETag='"one"')
            handler.wfile.write(BODY[:after])
            handler.wfile.flush()
        handler.server.over.wait(20)

    return answer


PAGE = status(200, b"<!DOCTYPE html><html>Quota exceeded</html>", Content_Type="text/html")


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Mirror() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join(10)


def weights(*mirrors: str, sha256: str | None = SHA256, size: int | None = len(BODY)) -> Weights:
    return Weights("test", "test.pth.tar", "vox-256", "a test", "MIT", mirrors, size, sha256)


def unverified(*mirrors: str) -> Weights:
    return weights(*mirrors, sha256=None, size=None)


class Lines(list[str]):
    def has(self, text: str) -> bool:
        return any(text in line for line in self)


def fetch(what: Weights, folder: Path, said: list[str] | None = None, **changes: Any) -> Path:
    options: dict[str, Any] = {"timeout_s": 5.0, "wait_s": 0.0, "show_progress": False} | changes
    return download(what, folder, say=(said if said is not None else []).append, **options)


# ---- good mirrors


def test_a_good_mirror_gives_the_file_and_leaves_nothing_else(
    mirror: Mirror, tmp_path: Path
) -> None:
    url = mirror.serve("/f", whole())
    path = fetch(weights(url), tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "test.pth.tar"
    assert path.read_bytes() == BODY
    assert sorted(p.name for p in path.parent.iterdir()) == ["test.pth.tar", "test.pth.tar.json"]
    receipt = json.loads((path.parent / "test.pth.tar.json").read_text())
    assert receipt == {"url": url, "size": 300_000, "sha256": SHA256}


def test_a_cut_transfer_is_resumed_where_it_broke_off(mirror: Mirror, tmp_path: Path) -> None:
    url = mirror.serve("/f", whole(cut=70_000), whole(cut=200_000), whole())
    assert fetch(weights(url), tmp_path).read_bytes() == BODY
    assert mirror.ranges() == [None, "bytes=70000-", "bytes=200000-"]
    assert mirror.asked[1][1]["If-Range"] == '"one"'


def test_each_new_byte_earns_new_attempts(mirror: Mirror, tmp_path: Path) -> None:
    cuts = [whole(cut=n * 1000) for n in range(1, 20)]
    url = mirror.serve("/f", *cuts, whole())
    assert fetch(weights(url), tmp_path, attempts=2).read_bytes() == BODY
    assert len(mirror.asked) == 20


def test_a_later_command_resumes_the_partial_file(mirror: Mirror, tmp_path: Path) -> None:
    url = mirror.serve("/f", whole(cut=100_000), status(404))
    with pytest.raises(DownloadError):
        fetch(weights(url), tmp_path)
    assert part_of(tmp_path / "test.pth.tar").read_bytes() == BODY[:100_000]
    mirror.serve("/f", whole())
    assert fetch(weights(url), tmp_path).read_bytes() == BODY
    assert mirror.ranges()[-1] == "bytes=100000-"


def test_a_complete_partial_file_needs_no_request(mirror: Mirror, tmp_path: Path) -> None:
    part_of(tmp_path / "test.pth.tar").write_bytes(BODY)
    url = mirror.serve("/f", status(500))
    assert fetch(weights(url), tmp_path).read_bytes() == BODY
    assert mirror.asked == []


def test_redirects_are_followed_and_the_range_goes_along(mirror: Mirror, tmp_path: Path) -> None:
    target = mirror.serve("/real", whole(cut=50_000), whole())
    url = mirror.serve("/f", redirect(target))
    assert fetch(weights(url), tmp_path).read_bytes() == BODY
    assert [path for path, _ in mirror.asked] == ["/f", "/real", "/f", "/real"]
    assert mirror.ranges() == [None, None, "bytes=50000-", "bytes=50000-"]


def test_the_progress_bar_goes_to_stderr(
    mirror: Mirror, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(weights(mirror.serve("/f", whole())), tmp_path, show_progress=True)
    captured = capsys.readouterr()
    assert "100%" in captured.err
    assert captured.out == ""


# ---- bad mirrors


def test_the_next_mirror_goes_on_where_the_first_one_died(mirror: Mirror, tmp_path: Path) -> None:
    first = mirror.serve("/one", whole(cut=120_000, etag='"a"'), status(503))
    second = mirror.serve("/two", whole(etag='"b"'))
    assert fetch(weights(first, second), tmp_path, attempts=2).read_bytes() == BODY
    assert mirror.asked[-1][0] == "/two"
    assert mirror.ranges()[-1] == "bytes=120000-"
    assert "If-Range" not in mirror.asked[-1][1]
    assert read_receipt(tmp_path / "test.pth.tar").url == second  # type: ignore[union-attr]


def test_without_a_published_hash_bytes_of_two_mirrors_are_never_mixed(
    mirror: Mirror, tmp_path: Path
) -> None:
    other = BODY[::-1]
    first = mirror.serve("/one", whole(cut=120_000), status(404))
    second = mirror.serve("/two", whole(other))
    assert fetch(unverified(first, second), tmp_path).read_bytes() == other
    assert mirror.ranges()[-1] is None


def test_without_hash_and_version_mark_a_cut_file_starts_over(
    mirror: Mirror, tmp_path: Path
) -> None:
    url = mirror.serve("/f", whole(cut=120_000, etag=None), whole(etag=None))
    assert fetch(unverified(url), tmp_path).read_bytes() == BODY
    assert mirror.ranges() == [None, None]


def test_a_corrupt_file_is_deleted_and_the_next_mirror_asked(
    mirror: Mirror, tmp_path: Path
) -> None:
    bad = bytearray(BODY)
    bad[150_000] ^= 1
    said = Lines()
    first, second = mirror.serve("/one", whole(bytes(bad))), mirror.serve("/two", whole())
    assert fetch(weights(first, second), tmp_path, said).read_bytes() == BODY
    assert said.has(f"sent a file with sha256 {hashlib.sha256(bad).hexdigest()}, expected {SHA256}")
    assert mirror.ranges() == [None, None]


def test_corrupt_everywhere_leaves_no_file(mirror: Mirror, tmp_path: Path) -> None:
    url = mirror.serve("/f", whole(BODY[:-1] + b"?"))
    with pytest.raises(DownloadError, match="sha256"):
        fetch(weights(url), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_partial_file_is_found_and_fetched_anew(mirror: Mirror, tmp_path: Path) -> None:
    part_of(tmp_path / "test.pth.tar").write_bytes(b"x" * 1000)
    said = Lines()
    assert fetch(weights(mirror.serve("/f", whole())), tmp_path, said).read_bytes() == BODY
    assert mirror.ranges() == ["bytes=1000-", None]
    assert said.has("wrong hash")


def test_a_server_that_ignores_ranges_starts_over(mirror: Mirror, tmp_path: Path) -> None:
    said = Lines()
    url = mirror.serve("/f", ignores_range(cut=90_000), ignores_range())
    assert fetch(weights(url), tmp_path, said).read_bytes() == BODY
    assert mirror.ranges() == [None, "bytes=90000-"]
    assert said.has("from its beginning")


def test_a_server_that_ignores_ranges_and_always_cuts_is_given_up(
    mirror: Mirror, tmp_path: Path
) -> None:
    url = mirror.serve("/f", ignores_range(cut=90_000), ignores_range(cut=5), ignores_range(60_000))
    with pytest.raises(DownloadError, match=r"ended after 60,000 of 300,000 bytes \(tries: 3\)"):
        fetch(weights(url), tmp_path, attempts=3)
    assert len(mirror.asked) == 4


@pytest.mark.parametrize("honest", [True, False])
def test_a_file_that_changed_on_the_server_starts_over(
    mirror: Mirror, tmp_path: Path, honest: bool
) -> None:
    new = BODY[::-1]

    def forgets_if_range(handler: Handler) -> None:
        del handler.headers["If-Range"]
        whole(new, etag='"two"')(handler)

    answer = whole(new, etag='"two"') if honest else forgets_if_range
    url = mirror.serve("/f", whole(cut=100_000), answer)
    assert fetch(unverified(url), tmp_path).read_bytes() == new


def test_a_range_beyond_the_end_starts_over(mirror: Mirror, tmp_path: Path) -> None:
    url = mirror.serve("/f", whole(cut=100_000), status(416), whole())
    assert fetch(weights(url), tmp_path).read_bytes() == BODY
    assert mirror.ranges() == [None, "bytes=100000-", None]


def test_a_partial_file_larger_than_the_file_is_dropped(mirror: Mirror, tmp_path: Path) -> None:
    part_of(tmp_path / "test.pth.tar").write_bytes(BODY + b"more")
    assert fetch(weights(mirror.serve("/f", whole())), tmp_path).read_bytes() == BODY
    assert mirror.ranges() == [None]


def test_an_answer_with_another_range_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    answer = status(206, BODY, Content_Range="bytes 5-299999/300000")
    url = mirror.serve("/f", whole(cut=100_000), answer)
    with pytest.raises(DownloadError, match="asked was byte 100000"):
        fetch(weights(url), tmp_path)
    assert part_of(tmp_path / "test.pth.tar").read_bytes() == BODY[:100_000]


@pytest.mark.parametrize(
    "page",
    [PAGE, status(200, b"\n <html>x</html>", Content_Type="application/octet-stream")],
    ids=["declared", "undeclared"],
)
def test_a_web_page_is_not_taken_for_the_file(mirror: Mirror, tmp_path: Path, page: Answer) -> None:
    with pytest.raises(DownloadError, match="web page"):
        fetch(unverified(mirror.serve("/f", page)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_web_page_does_not_destroy_a_partial_file(mirror: Mirror, tmp_path: Path) -> None:
    url = mirror.serve("/f", whole(cut=100_000), PAGE)
    with pytest.raises(DownloadError, match="web page"):
        fetch(unverified(url), tmp_path)
    assert part_of(tmp_path / "test.pth.tar").read_bytes() == BODY[:100_000]


def test_a_file_of_another_size_is_refused_before_it_is_fetched(
    mirror: Mirror, tmp_path: Path
) -> None:
    url = mirror.serve("/f", whole(BODY + b"more"))
    with pytest.raises(DownloadError, match="has a file of 300,004 bytes, expected 300,000"):
        fetch(weights(url), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_size_is_refused_where_no_size_is_published(
    mirror: Mirror, tmp_path: Path
) -> None:
    def no_length(handler: Handler) -> None:
        handler.begin(200)
        handler.wfile.write(BODY)

    url = mirror.serve("/f", no_length)
    with pytest.raises(DownloadError, match="does not tell the file's size"):
        fetch(unverified(url), tmp_path)
    assert fetch(weights(url), tmp_path).read_bytes() == BODY


def test_an_empty_file_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="before the first byte"):
        fetch(unverified(mirror.serve("/f", status(200))), tmp_path)


def test_a_compressed_answer_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    url = mirror.serve("/f", status(200, BODY, Content_Encoding="gzip"))
    with pytest.raises(DownloadError, match="compressed"):
        fetch(weights(url), tmp_path)


@pytest.mark.parametrize(
    ("answer", "text", "requests"),
    [(status(404), "answered 404", 1), (status(503), "answered 503 (tries: 3)", 3)],
)
def test_errors_that_may_pass_are_tried_again(
    mirror: Mirror, tmp_path: Path, answer: Answer, text: str, requests: int
) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(weights(mirror.serve("/f", answer)), tmp_path, attempts=3)
    assert text in str(caught.value)
    assert len(mirror.asked) == requests


@pytest.mark.parametrize("after", [0, 80_000])
def test_a_silent_server_times_out_and_what_came_is_kept(
    mirror: Mirror, tmp_path: Path, after: int
) -> None:
    first, second = mirror.serve("/one", silent(after)), mirror.serve("/two", whole())
    said = Lines()
    path = fetch(weights(first, second), tmp_path, said, timeout_s=0.2, attempts=1)
    assert path.read_bytes() == BODY
    assert said.has("timed out")
    assert mirror.ranges()[-1] == (f"bytes={after}-" if after else None)


def test_a_closed_port_is_a_failed_mirror(mirror: Mirror, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/f"
    good = mirror.serve("/f", whole())
    assert fetch(weights(closed, good), tmp_path).read_bytes() == BODY


def test_a_server_that_speaks_no_tls_is_a_failed_mirror(mirror: Mirror, tmp_path: Path) -> None:
    url = mirror.serve("/f", whole()).replace("http:", "https:")
    with pytest.raises(DownloadError, match="tries: 1"):
        fetch(weights(url), tmp_path, attempts=1)


def test_a_redirect_loop_ends(mirror: Mirror, tmp_path: Path) -> None:
    url = mirror.serve("/f", redirect("/f"))
    with pytest.raises(DownloadError, match="redirects without end"):
        fetch(weights(url), tmp_path)
    assert len(mirror.asked) < 12


@pytest.mark.parametrize(
    "to",
    [
        "http://example.org/f",
        "ftp://example.org/f",
        "file:///etc/hosts",
        "http://[::1/f",
        "http://127.0.0.1:99999/f",
        f"https://{'a' * 70}.example.org/f",
    ],
)
def test_a_redirect_away_from_https_is_refused(mirror: Mirror, tmp_path: Path, to: str) -> None:
    with pytest.raises(DownloadError):
        fetch(weights(mirror.serve("/f", redirect(to))), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_https_is_never_left_for_http_not_even_on_this_machine() -> None:
    handler = download_module._HttpsRedirects()
    asked = urllib.request.Request("https://example.org/f")
    with pytest.raises(download_module._MirrorError, match="not https"):
        handler.redirect_request(asked, StringIO(), 302, "", {}, "http://localhost/f")  # type: ignore[arg-type]
    followed = handler.redirect_request(asked, StringIO(), 302, "", {}, "https://example.com/f")  # type: ignore[arg-type]
    assert followed is not None
    assert followed.full_url == "https://example.com/f"


# ---- this machine


def test_offline_says_how_to_import_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    monkeypatch.setenv("no_proxy", "*")
    one, two = "https://one.example/test.pth.tar", "https://two.example/test.pth.tar"
    with pytest.raises(DownloadError) as caught:
        fetch(weights(one, two), tmp_path)
    message = str(caught.value)
    assert "one.example: host not found (is this machine offline?)" in message
    assert "puppetcam models import test.pth.tar" in message
    assert one in message
    assert two in message
    assert "\n" not in message


def test_too_little_room_is_told_before_the_transfer(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = mirror.serve("/f", whole(cut=100_000), whole())
    usage = shutil.disk_usage(tmp_path)
    free = iter([10**9, 199_999])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=next(free)))
    with pytest.raises(DownloadError) as caught:
        fetch(weights(url), tmp_path)
    assert "200,000 bytes are needed, 199,999 are free" in str(caught.value)
    assert "100,000 bytes that came are kept" in str(caught.value)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=200_000))
    assert fetch(weights(url), tmp_path).read_bytes() == BODY


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of a file's size")
def test_a_disk_that_fills_up_keeps_the_partial_file(mirror: Mirror, tmp_path: Path) -> None:
    import resource

    url = mirror.serve("/f", whole())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
    try:
        with pytest.raises(DownloadError, match=r"no room in .* are kept"):
            fetch(weights(url), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    kept = part_of(tmp_path / "test.pth.tar").read_bytes()
    assert len(kept) > 0
    assert kept == BODY[: len(kept)]
    assert fetch(weights(url), tmp_path).read_bytes() == BODY
    assert mirror.ranges()[-1] == f"bytes={len(kept)}-"


def test_a_folder_that_cannot_be_made_is_one_line(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="cannot write to"):
        fetch(weights(mirror.serve("/f", whole())), tmp_path / "file" / "cache")
    assert mirror.asked == []


def test_other_disk_errors_are_told_by_their_reason() -> None:
    error = download_module._cannot_write(
        OSError(errno.EIO, "Input/output error"), Path("c"), Path("p")
    )
    assert str(error) == "cannot write to c: Input/output error"


# ---- the manifest


def test_the_manifest_names_each_network_once_and_only_https() -> None:
    entries = read_manifest()
    assert len({entry.name for entry in entries}) == len(entries) == 8
    for entry in entries:
        assert (Path(MANIFEST).parent.parent / "config" / f"{entry.config}.yaml").is_file()
        assert all(url.startswith("https://") and url.endswith(entry.file) for url in entry.mirrors)
    adv = next(entry for entry in entries if entry.name == "vox-adv")
    assert adv.size == 750_926_934
    assert adv.sha256 == "6792d6810d7f46e3c5c487a1cfec916b96fad8912c3c6cc81baa1fc300c820d3"
    assert len(adv.mirrors) >= 2


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://example.org/f", True),
        ("http://127.0.0.1:8000/f", True),
        ("http://localhost/f", True),
        ("http://[::1]:1/f", True),
        ("http://example.org/f", False),
        ("http://localhost.example.org/f", False),
        ("http://localhost@example.org/f", False),
        ("ftp://localhost/f", False),
        ("file:///etc/hosts", False),
        ("https:///f", False),
        ("http://[::1/f", False),
        ("https://example.org:99999/f", False),
        ("https://example.org:x/f", False),
        ("https://anna:secret@example.org/f", False),
        ("https://example.org/f\n", False),
        ("https://ex\u00e4mple.org/f", False),
        ("/f", False),
    ],
)
def test_only_https_and_this_machine_are_allowed(url: str, good: bool) -> None:
    assert allowed(url) is good


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"file": "../evil"}, "plain file name"),
        ({"file": "a/b"}, "plain file name"),
        ({"sha256": "ABC"}, "64 hexadecimal"),
        ({"size": 0}, "above 0"),
        ({"mirrors": []}, "at least one"),
        ({"mirrors": ["http://example.org/f"]}, "https"),
        ({"sise": 3}, "nearest is 'weights.0.size'"),
    ],
)
def test_a_bad_manifest_names_the_setting(
    tmp_path: Path, change: dict[str, object], text: str
) -> None:
    entry = {
        "name": "a",
        "file": "a.tar",
        "config": "vox-256",
        "shows": "x",
        "licence": "MIT",
        "mirrors": ["https://example.org/a.tar"],
    } | change
    path = tmp_path / "manifest.yaml"
    path.write_text(json.dumps({"weights": [entry]}))  # JSON is YAML
    with pytest.raises(SettingsError, match=text):
        read_manifest(path)


def test_check_tells_what_lies_in_the_cache(mirror: Mirror, tmp_path: Path) -> None:
    known, unknown = weights(mirror.serve("/f", whole())), unverified(mirror.serve("/f", whole()))
    path = tmp_path / "test.pth.tar"
    assert check(known, tmp_path).state == "absent"
    part_of(path).write_bytes(b"some")
    assert check(known, tmp_path).state == "partial"
    part_of(path).unlink()
    fetch(known, tmp_path)
    assert check(known, tmp_path).state == "verified"
    assert check(unknown, tmp_path).state == "unverified"
    path.write_bytes(BODY[:-1] + b"?")
    assert check(known, tmp_path).state == "changed"
    assert check(unknown, tmp_path).state == "changed"
    (tmp_path / "test.pth.tar.json").write_text("not json")
    assert check(unknown, tmp_path).state == "unverified"


def test_the_cache_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUPPETCAM_CACHE", "/somewhere")
    assert cache_folder() == Path("/somewhere")
    monkeypatch.delenv("PUPPETCAM_CACHE")
    assert "puppetcam" in str(cache_folder())


# ---- the command line


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PUPPETCAM_CACHE", str(tmp_path))
    return tmp_path


def test_list_and_verify_use_no_network(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert main(["models", "list"]) == 0
    assert main(["models", "verify"]) == 0
    printed = capsys.readouterr().out
    assert "vox-adv-cpk.pth.tar, 750.9 MB, sha256 known" in printed
    assert "unverified: no published hash" in printed
    assert f"nothing to verify in {cache}" in printed


def test_unverified_weights_are_not_fetched_without_a_word(
    mirror: Mirror, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO("y\n"))  # not a terminal
    url = mirror.serve("/nemo-cpk.pth.tar", whole())
    assert main(["models", "pull", "nemo", "--mirror", url]) == 2
    assert "--accept-unverified" in capsys.readouterr().err
    assert mirror.asked == []


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "code"), [("y\n", 0), ("YES\n", 0), ("\n", 2), ("n\n", 2), ("", 2)]
)
def test_on_a_terminal_the_user_is_asked(
    mirror: Mirror, cache: Path, monkeypatch: pytest.MonkeyPatch, typed: str, code: int
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    url = mirror.serve("/nemo-cpk.pth.tar", whole())
    assert main(["models", "pull", "nemo", "--mirror", url]) == code
    assert (cache / "nemo-cpk.pth.tar").is_file() is (code == 0)
    assert bool(mirror.asked) is (code == 0)


def test_pull_then_list_then_verify_then_damage(
    mirror: Mirror, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = mirror.serve("/nemo-cpk.pth.tar", whole())
    pull = ["models", "pull", "nemo", "--accept-unverified", "--mirror", url]
    assert main(pull) == 0
    path = cache / "nemo-cpk.pth.tar"
    assert "do not unpack it" in capsys.readouterr().out
    assert main(pull) == 0
    assert "already there" in capsys.readouterr().out
    assert len(mirror.asked) == 1
    assert main(["models", "list"]) == 0
    assert f"{path} (0.3 MB)" in capsys.readouterr().out
    assert main(["models", "verify"]) == 0
    assert f"unverified: {path}: sha256 {SHA256}" in capsys.readouterr().out
    path.write_bytes(b"other")
    assert main(["models", "verify"]) == 2
    captured = capsys.readouterr()
    assert captured.out.startswith(f"changed: {path}")
    assert captured.err.startswith(f"puppetcam: not as published or downloaded: {path}")
    assert main(pull) == 0
    assert path.read_bytes() == BODY


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["pull", "vox-advv"], "nearest is 'vox-adv'"),
        (["pull", "nemo", "--mirror", "http://example.org/f"], "must be an https address"),
        (["pull", "nemo", "--mirror", "file:///etc/hosts"], "must be an https address"),
        (["import", "nothing.pth.tar"], "does not exist"),
        (["import", "."], "do not unpack it"),
        (["import", "pyproject.toml"], "is no checkpoint"),
    ],
)
def test_a_mistake_is_one_line(
    cache: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    text: str,
) -> None:
    monkeypatch.chdir(Path(__file__).parent.parent)
    assert main(["models", *arguments]) == 2
    captured = capsys.readouterr()
    assert text in captured.err
    assert captured.err.count("\n") == 1


TINY = """
size: 64
num_keypoints: 2
num_channels: 3
estimate_jacobian: true
keypoint_detector:
  {temperature: 0.1, block_expansion: 4, max_features: 8, num_blocks: 2, scale_factor: 0.25}
generator:
  block_expansion: 4
  max_features: 8
  num_down_blocks: 1
  num_bottleneck_blocks: 1
  estimate_occlusion_map: true
  dense_motion: {block_expansion: 4, max_features: 8, num_blocks: 2, scale_factor: 0.25}
"""


@pytest.mark.parametrize("layout", ["full", "pruned"])
def test_import_converts_both_layouts(
    cache: Path, capsys: pytest.CaptureFixture[str], layout: str
) -> None:
    import torch

    from models.first_order import FirstOrderModel

    config = cache / "tiny.yaml"
    config.write_text(TINY)
    torch.manual_seed(5)
    model = FirstOrderModel(load_network(config))
    content = {
        "generator": model.generator.state_dict(),
        "kp_detector": model.kp_detector.state_dict(),
    }
    if layout == "full":
        content |= {"discriminator": {"w": torch.zeros(3)}, "optimizer_generator": {}, "epoch": 9}
    source = cache / "mine-cpk.pth.tar"
    torch.save(content, source)
    assert main(["models", "import", str(source), "--config", str(config)]) == 0
    printed = capsys.readouterr().out
    assert hashlib.sha256(source.read_bytes()).hexdigest() in printed
    assert "unverified" in printed
    loaded = FirstOrderModel.from_checkpoint(cache / "mine-cpk.safetensors", config)
    for name, value in model.generator.state_dict().items():
        assert torch.equal(loaded.generator.state_dict()[name], value)
    assert main(["models", "list"]) == 0
    assert "imported: " in capsys.readouterr().out


def test_import_of_a_real_tar_says_do_not_unpack(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = cache / "vox-cpk.pth.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "data.pkl")
    assert main(["models", "import", str(path)]) == 2
    told = capsys.readouterr().err
    assert "is a real tar archive" in told
    assert told.count("\n") == 1


def test_import_without_torch_names_the_extra(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cache / "vox-cpk.pth.tar"
    path.write_bytes(BODY)
    monkeypatch.delitem(sys.modules, "models.checkpoint", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["models", "import", str(path)]) == 2
    assert ".[export]" in capsys.readouterr().err
