"""Content Credentials: signed here, read back elsewhere, and what is told apart."""

import datetime
import hashlib
import http.server
import io
import json
import logging
import os
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from config.errors import CredentialsError
from config.schema import CredentialsSettings, OutputSettings, Settings
from control.api import Api
from models import bundle
from provenance import c2pa_library
from provenance.c2pa_library import load_c2pa
from provenance.consent import Consent
from provenance.credentials import Credentials, read_credentials
from provenance.identity import open_identity, own_folder, trusted_certificates
from provenance.signer import Signer, open_signer
from puppetcam.cli import main
from realtime.frame import Frame
from realtime.recording import VideoWriter

pytest.importorskip("c2pa", reason="c2pa-python has no wheel for this system")

ROOT = Path(__file__).parent.parent
SETTINGS = CredentialsSettings()
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Picture:
    """What a film is told to show."""

    sha256: str
    consent: Consent | None


AVATAR = Picture("5e" * 32, Consent("permission", "2026-11-20", "5e" * 32))


def record(path: Path, frames: int = 40) -> Path:
    """A recording as the live path makes it: in fragments."""
    rng = np.random.default_rng(5)
    sink = VideoWriter(path, OutputSettings(width=64, height=48, fps=30))
    for number in range(frames):
        sink.send(Frame(rng.integers(0, 256, (48, 64, 3), np.uint8), number / 30, number))
    sink.close()
    return path


def picture(path: Path) -> Path:
    cv2.imwrite(str(path), np.random.default_rng(6).integers(0, 256, (48, 64, 3), np.uint8))
    return path


def shown(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [one.to_ndarray(format="rgb24").tobytes() for one in container.decode(video=0)]


@pytest.fixture(scope="module")
def signer() -> Signer:
    found = open_signer(SETTINGS, bundle.open_bundle(None), "1.2.3")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def film(signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = record(tmp_path_factory.mktemp("film") / "film.mp4")
    assert signer.sign(path, [AVATAR])
    return path


# --- what is in, read by others ---


def test_a_fresh_process_reads_it_with_the_librarys_own_reader(film: Path) -> None:
    script = "import c2pa, sys; r = c2pa.Reader(sys.argv[1]); print(r.json())"
    found = subprocess.run(
        [sys.executable, "-c", script, str(film)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    store = json.loads(found.stdout)
    assert store["validation_state"] == "Valid"
    assert [one["code"] for one in store["validation_status"]] == ["signingCredential.untrusted"]
    manifest = store["manifests"][store["active_manifest"]]
    assert manifest["claim_generator_info"][0]["name"] == "puppetcam"
    assert manifest["claim_generator_info"][0]["version"] == "1.2.3"
    assert manifest["signature_info"]["alg"] == "Es256"
    assert "thumbnail" not in manifest
    assert "title" not in manifest  # the first name of the file is nobody's business
    said = {one["label"]: one["data"] for one in manifest["assertions"]}
    (action,) = said["c2pa.actions.v2"]["actions"]
    assert action["action"] == "c2pa.created"
    assert action["digitalSourceType"] == (
        "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    )
    assert action["softwareAgent"]["name"] == "puppetcam"
    when = datetime.datetime.fromisoformat(action["when"])
    assert abs(datetime.datetime.now(datetime.UTC) - when) < datetime.timedelta(hours=1)
    statement = said["org.puppetcam.generation"]
    graph = hashlib.sha256((bundle.DEFAULT / "frame.onnx").read_bytes()).hexdigest()
    assert statement["models"][0]["files"]["frame.onnx"] == graph
    assert statement["avatars"] == [
        {
            "sha256": "5e" * 32,
            "face": "permission",
            "consent": "a person who allows this use",
            "consent_date": "2026-11-20",
        }
    ]


def test_our_own_reader_says_the_same(film: Path) -> None:
    found = read_credentials(film)
    assert (found.state, found.trusted, found.says_ai) == ("valid", False, True)
    assert found.source_types == ("trainedAlgorithmicMedia",)
    assert found.software == "puppetcam 1.2.3"
    text = "\n".join(found.lines())
    for part in ("nobody vouches for", "puppetcam 1.2.3", "5e5e5e", "a person who allows this use"):
        assert part in text
    assert json.loads(json.dumps(found.as_dict()))["says_ai"] is True


def test_signing_leaves_every_picture_as_it_was(signer: Signer, tmp_path: Path) -> None:
    path = record(tmp_path / "x.mp4")
    path.chmod(0o640)
    before, size = shown(path), path.stat().st_size
    assert signer.sign(path, [AVATAR])
    assert shown(path) == before
    assert 2000 < path.stat().st_size - size < 6000
    assert os.name != "posix" or stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.jpeg", "x.webp"])
def test_snapshots_carry_them_too(signer: Signer, tmp_path: Path, name: str) -> None:
    path = picture(tmp_path / name)
    before = cv2.imread(str(path))
    assert read_credentials(path).state == "absent"
    assert signer.sign(path, [AVATAR], composite=True)
    found = read_credentials(path)
    assert found.state == "valid"
    assert found.source_types == ("compositeWithTrainedAlgorithmicMedia",)
    assert found.says_ai
    np.testing.assert_array_equal(cv2.imread(str(path)), before)


def test_snapshots_are_signed_before_they_are_a_file(
    signer: Signer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for suffix in (".png", ".jpg"):
        data = picture(tmp_path / f"x{suffix}").read_bytes()
        (tmp_path / f"y{suffix}").write_bytes(signer.sign_picture(data, suffix, [AVATAR]))
        assert read_credentials(tmp_path / f"y{suffix}").state == "valid"
    assert signer.sign_picture(b"no picture", ".png", [AVATAR]) == b"no picture"
    assert "a snapshot has no Content Credentials" in caplog.text


def test_all_networks_that_ran_are_named(signer: Signer, tmp_path: Path) -> None:
    default = bundle.open_bundle(None)
    int8 = bundle.open_bundle(bundle.DEFAULT.with_name("default-int8"))
    path = picture(tmp_path / "x.png")
    assert signer.of([default, int8]).sign(path, [AVATAR])
    found = read_credentials(path)
    assert found.statement is not None
    assert [one["files"] for one in found.statement["models"]] == [default.files, int8.files]
    told = "\n".join(found.lines())
    assert default.files["frame.onnx"] in told
    assert int8.files["frame.onnx"] in told
    assert signer.sign(path, [AVATAR])  # the signer itself stays with what it was opened for
    again = read_credentials(path).statement
    assert again is not None
    assert [one["files"] for one in again["models"]] == [default.files]


def test_the_snapshot_of_a_run_is_signed(signer: Signer, tmp_path: Path) -> None:
    frame = Frame(np.full((48, 64, 3), 90, np.uint8), 0.0, 0)
    for suffix, background, kind in (
        (".png", "avatar", "trainedAlgorithmicMedia"),
        (".jpg", "beach.jpg", "compositeWithTrainedAlgorithmicMedia"),
    ):
        settings = Settings(output=OutputSettings(background=background))
        run: Any = SimpleNamespace(avatar=AVATAR, snapshot=lambda: frame, settings=settings)
        data = Api(run, {}, "1", lambda: signer).answer("GET", f"/snapshot{suffix}", {}, "").data
        path = tmp_path / f"x{suffix}"
        path.write_bytes(data)
        found = read_credentials(path)
        assert (found.state, found.source_types) == ("valid", (kind,))
        assert found.statement is not None
        assert found.statement["avatars"][0]["sha256"] == AVATAR.sha256


def test_an_avatar_of_which_nothing_was_said_is_told_so(signer: Signer, tmp_path: Path) -> None:
    path = picture(tmp_path / "x.png")
    assert signer.sign(path, [Picture("ab" * 32, None)])
    found = read_credentials(path)
    assert found.statement is not None
    assert found.statement["avatars"] == [{"sha256": "ab" * 32}]
    assert any("not said" in line for line in found.lines())


# --- what is told apart ---


def boxes(data: bytes) -> dict[str, range]:
    """The boxes of an mp4 by their names, the last of a name."""
    found, at = {}, 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        found[data[at + 4 : at + 8].decode("latin1")] = range(at, at + size)
        at += size
    return found


def flipped(film: Path, place: int, target: Path) -> Credentials:
    data = bytearray(film.read_bytes())
    data[place] ^= 1 << place % 8
    target.write_bytes(data)
    return read_credentials(target)


def test_one_changed_bit_of_pictures_or_index_is_invalid(film: Path, tmp_path: Path) -> None:
    data = film.read_bytes()
    found = boxes(data)
    assert found["uuid"].stop <= found["moov"].start < found["moof"].start < found["mdat"].start
    assert found["mdat"].stop == found["mfra"].start
    end = found["mfra"].start  # the list of places to seek to, which C2PA leaves out
    places = np.random.default_rng(8).integers(found["moov"].start, end, 60).tolist()
    places += [found["mdat"].start + 8, found["mdat"].stop - 1]  # first and last byte of pictures
    states = [flipped(film, place, tmp_path / "t.mp4").state for place in places]
    assert set(states) <= {"invalid", "unreadable"}
    assert states.count("invalid") > 50


def test_no_changed_bit_makes_a_valid_film_show_or_say_anything_else(
    film: Path, tmp_path: Path
) -> None:
    data = film.read_bytes()
    before, said = shown(film), read_credentials(film)
    end, seek = boxes(data)["uuid"].stop, boxes(data)["mfra"]
    still = []
    for place in [*range(5, end, 23), *seek[8::9]]:  # the file type, the manifest, the seek index
        found = flipped(film, place, tmp_path / "t.mp4")
        if found.state == "valid":
            still.append(place)
            assert (found.statement, found.source_types) == (said.statement, said.source_types)
            assert shown(tmp_path / "t.mp4") == before
    # The padding that follows the signature, for the most part.
    assert sum(place < end for place in still) < 0.5 * end / 23


def test_cut_and_continued_films_are_not_valid(film: Path, tmp_path: Path) -> None:
    data = film.read_bytes()
    for name, other in (("cut", data[: len(data) // 2]), ("longer", data + data[-4000:])):
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(other)
        assert read_credentials(path).state in ("invalid", "unreadable")


def test_copied_into_another_file_they_are_absent(film: Path, tmp_path: Path) -> None:
    path = tmp_path / "copy.mp4"
    with av.open(str(film)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    assert shown(path) == shown(film)
    assert read_credentials(path) == Credentials("absent", "the file has none")


def test_valid_but_untrusted_becomes_trusted_by_the_users_word_only(
    film: Path, tmp_path: Path
) -> None:
    assert read_credentials(film).trusted is False
    found = read_credentials(film, trusted_certificates(SETTINGS))
    assert (found.state, found.trusted) == ("valid", True)
    _, other = make_identity(tmp_path)
    assert read_credentials(film, other.read_bytes()).trusted is False
    assert flipped(film, film.stat().st_size // 2, tmp_path / "t.mp4").trusted is False


def test_what_is_no_picture_or_film_is_not_called_changed(film: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(9).bytes(3000)
    for name, content, state in [
        ("text.mp4", b"no film", "unreadable"),
        ("page.mp4", b"<html>not found</html>", "unreadable"),
        ("text.png", b"no picture", "unreadable"),
        ("noise.mp4", noise, "unreadable"),
        ("noise.webp", noise, "unreadable"),
        ("zeros.mp4", bytes(3000), "unreadable"),
        ("empty.mp4", b"", "unreadable"),
        ("cut.mp4", film.read_bytes()[:2000], "unreadable"),
        ("film.mkv", b"\x1a\x45\xdf\xa3" + noise, "absent"),
        ("notes.txt", b"hello", "absent"),
    ]:
        (tmp_path / name).write_bytes(content)
        found = read_credentials(tmp_path / name)
        assert (name, found.state) == (name, state)
        assert found.detail.isprintable()
    for path in (tmp_path / "nowhere.mp4", tmp_path):
        assert read_credentials(path).state == "unreadable"


def test_texts_of_strangers_cannot_move_the_cursor(tmp_path: Path) -> None:
    c2pa = load_c2pa()
    identity = open_identity(SETTINGS)
    hostile = "\x1b[2J\nvalid\r\u202e"
    manifest = {
        "claim_generator_info": [{"name": hostile, "version": "1"}],
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": hostile}]},
            },
            {
                "label": "org.puppetcam.generation",
                "data": {"models": [1], "avatars": {"a": hostile}},
            },
        ],
    }
    info = c2pa.C2paSignerInfo(identity.algorithm, identity.certificates, identity.key, None)
    path = tmp_path / "hostile.png"
    with (
        picture(tmp_path / "x.png").open("rb") as source,
        path.open("w+b") as target,
        c2pa.Signer.from_info(info) as signs,
        c2pa.Builder(manifest) as builder,
    ):
        builder.sign(signs, "image/png", source, target)
    found = read_credentials(path)
    assert "[2J" in found.software
    assert all(line.isprintable() for line in found.lines())
    assert not found.says_ai


# --- nothing is fetched, nothing is loaded from where one happens to be ---


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{found.server_address[1]}/m.c2pa", asked
        found.shutdown()
        thread.join()


def test_reading_asks_nobody(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    url, asked = server
    c2pa = load_c2pa()
    identity = open_identity(SETTINGS)
    info = c2pa.C2paSignerInfo(identity.algorithm, identity.certificates, identity.key, None)
    created = {"action": "c2pa.created", "digitalSourceType": "http://x/trainedAlgorithmicMedia"}
    manifest = {
        "claim_generator_info": [{"name": "x"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}],
    }
    path = tmp_path / "remote.png"
    with (
        picture(tmp_path / "x.png").open("rb") as source,
        path.open("w+b") as target,
        c2pa.Signer.from_info(info) as signs,
        c2pa.Builder(manifest) as builder,
    ):
        builder.set_no_embed()
        builder.set_remote_url(url)
        builder.sign(signs, "image/png", source, target)
    assert read_credentials(path).state == "absent"
    assert asked == []
    with pytest.raises(c2pa.C2paError):  # left to itself, the library does ask
        c2pa.Reader(str(path))
    assert asked == ["/m.c2pa"]


def test_the_native_part_is_not_taken_from_the_current_folder(tmp_path: Path) -> None:
    real = Path(load_c2pa().c2pa._lib._name)
    (tmp_path / real.name).symlink_to(real)
    script = "import {0}; from provenance.c2pa_library import load_c2pa; m = {1}; print({2})"
    names = {}
    for how, first, call in (("ours", "sys", "load_c2pa()"), ("theirs", "c2pa", "c2pa")):
        code = script.format(first, call, "m.c2pa._lib._name")
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        names[how] = Path(done.stdout.strip())
    assert names["ours"] == real.resolve()
    assert names["theirs"].parent == tmp_path  # or this test shows nothing


def test_without_the_library_the_lack_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, film: Path
) -> None:
    load_c2pa()
    monkeypatch.delitem(sys.modules, "c2pa")
    monkeypatch.setattr(c2pa_library.importlib.util, "find_spec", lambda _: None)
    assert open_signer(SETTINGS, bundle.open_bundle(None), "1") is None
    (record_,) = caplog.records
    assert (
        "no Content Credentials: the package c2pa-python is not installed" in record_.getMessage()
    )
    assert read_credentials(film).state == "unavailable"


# --- files are never lost ---


@pytest.mark.skipif(os.name == "nt", reason="file size limits are POSIX")
def test_a_full_disk_loses_nothing(
    signer: Signer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import resource

    path = record(tmp_path / "x.mp4")
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        assert not signer.sign(path, [AVATAR])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    (told,) = caplog.records
    assert "x.mp4 is whole, but has no Content Credentials" in told.getMessage()
    assert "\n" not in told.getMessage()


def test_files_that_cannot_carry_them_stay_and_are_told(
    signer: Signer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, part in (("x.mkv", "of this kind cannot carry"), ("x.mp4", "is whole, but has no")):
        path = tmp_path / name
        path.write_bytes(b"no film at all")
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert not signer.sign(path, [AVATAR])
        assert part in caplog.text
        assert path.read_bytes() == b"no film at all"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(os.name == "nt", reason="links need a right on Windows")
def test_a_link_stays_a_link(signer: Signer, tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    real = picture(tmp_path / "films" / "x.png")
    link = tmp_path / "x.png"
    link.symlink_to(real)
    assert signer.sign(link, [AVATAR])
    assert link.is_symlink()
    assert read_credentials(real).state == "valid"


# --- keys and certificates ---


def test_the_key_is_made_once_for_its_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUPPETCAM_CONFIG", str(tmp_path / "new"))
    first = open_identity(SETTINGS)
    folder = own_folder()
    assert sorted(one.name for one in folder.iterdir()) == ["certificate.pem", "key.pem"]
    if os.name == "posix":
        assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "key.pem").chmod(0o644)
    second = open_identity(SETTINGS)
    assert (second.key, second.certificates) == (first.key, first.certificates)
    assert os.name != "posix" or stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    assert first.key.decode() not in repr(first)
    (certificate,) = x509.load_pem_x509_certificates(first.certificates)
    assert certificate.not_valid_after_utc.year > datetime.datetime.now().year + 20
    used = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(used) == [ExtendedKeyUsageOID.EMAIL_PROTECTION]
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_a_lost_certificate_is_made_again_for_the_same_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUPPETCAM_CONFIG", str(tmp_path))
    first = open_identity(SETTINGS)
    (own_folder() / "certificate.pem").unlink()
    assert open_identity(SETTINGS).key == first.key


def test_where_no_key_can_be_kept_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PUPPETCAM_CONFIG", str(tmp_path / "file"))
    with pytest.raises(CredentialsError, match="set PUPPETCAM_CONFIG to a folder of your own"):
        open_identity(SETTINGS)


def make_identity(
    folder: Path,
    *,
    key: Any = None,
    begins: datetime.timedelta = -DAY,
    ends: datetime.timedelta = 90 * DAY,
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.EMAIL_PROTECTION,
    password: bytes | None = None,
    authority: tuple[Any, x509.Name] | None = None,
) -> tuple[Path, Path]:
    """A key and a certificate as somebody else makes them; the files of both."""
    key = key or ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Anna Ltd")])
    signing_key, issuer = authority or (key, name)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    now = datetime.datetime.now(datetime.UTC)
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), False)
        .add_extension(own, False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), False
        )
        .sign(signing_key, hashes.SHA256())
    )
    encryption: Any = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    key_file, file = folder / f"{own.digest.hex()}.key", folder / f"{own.digest.hex()}.pem"
    key_file.write_bytes(pem)
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key_file, file


def settings_of(files: tuple[Path, Path]) -> CredentialsSettings:
    return CredentialsSettings(str(files[0]), str(files[1]))


def make_authority(folder: Path) -> tuple[Any, x509.Name, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Authority")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + 900 * DAY)
        .add_extension(x509.BasicConstraints(True, None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "authority.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key, name, path


@pytest.mark.parametrize("kind", ["P-384", "RSA"])
def test_the_users_own_certificate_signs_and_its_authority_is_trusted(
    tmp_path: Path, kind: str
) -> None:
    key, name, authority = make_authority(tmp_path)
    own = rsa.generate_private_key(65537, 2048) if kind == "RSA" else None
    files = make_identity(tmp_path, key=own, authority=(key, name))
    signs = open_signer(settings_of(files), bundle.open_bundle(None), "1")
    assert signs is not None
    path = picture(tmp_path / "x.png")
    assert signs.sign(path, [AVATAR])
    found = read_credentials(path)
    assert (found.state, found.trusted, found.signer) == ("valid", False, "Anna Ltd")
    trust = trusted_certificates(CredentialsSettings(trust=str(authority)))
    assert read_credentials(path, trust).trusted
    assert not read_credentials(path, trusted_certificates(SETTINGS)).trusted


def expired(folder: Path) -> tuple[Path, Path]:
    return make_identity(folder, begins=-9 * DAY, ends=-DAY)


def others(folder: Path) -> tuple[Path, Path]:
    return make_identity(folder)[0], make_identity(folder)[1]


def swapped(folder: Path) -> tuple[Path, Path]:
    key, certificate = make_identity(folder)
    return certificate, key


BAD: list[tuple[Callable[[Path], tuple[Path, Path]], str]] = [
    (expired, "expired on 20"),
    (lambda folder: make_identity(folder, begins=DAY), "is valid from 20"),
    (others, "is not that of the key"),
    (swapped, "is no private key in PEM"),
    (lambda folder: make_identity(folder, password=b"secret"), "protected by a password"),
    (lambda folder: make_identity(folder, key=ec.generate_private_key(ec.SECP256K1())), "P-256"),
    (
        lambda folder: make_identity(folder, purpose=ExtendedKeyUsageOID.SERVER_AUTH),
        "certificate is invalid",
    ),
    (lambda folder: (make_identity(folder)[0], folder / "none.pem"), "none.pem cannot be read"),
    (lambda folder: (make_identity(folder)[0], Path(__file__)), "holds no certificate in PEM"),
]


@pytest.mark.parametrize(("make", "part"), BAD)
def test_a_certificate_that_will_not_do_is_told_before_anything_is_recorded(
    tmp_path: Path, make: Callable[[Path], tuple[Path, Path]], part: str
) -> None:
    with pytest.raises(CredentialsError, match=part) as caught:
        open_signer(settings_of(make(tmp_path)), bundle.open_bundle(None), "1")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value) or __file__ in str(caught.value)


def test_an_expired_certificate_is_one_line_at_the_start_of_a_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, certificate = expired(tmp_path)
    more = [f"credentials.key={key}", f"credentials.certificate={certificate}"]
    film = tmp_path / "film.mp4"
    assert main(["run", "--source", "performer", "--sink", f"file:{film}", *more]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("puppetcam: ")
    assert "expired on" in said
    assert not film.exists()


def test_key_and_certificate_are_given_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "credentials.key=k.pem"]) == 2
    said = capsys.readouterr().err
    assert "'credentials.certificate' must be given where credentials.key is" in said


def test_trust_that_is_no_certificate_is_told(tmp_path: Path) -> None:
    for path, part in ((tmp_path / "none.pem", "cannot be read"), (Path(__file__), "holds no")):
        with pytest.raises(CredentialsError, match=part):
            trusted_certificates(CredentialsSettings(trust=str(path)))


def test_a_film_of_a_long_evening_is_signed_in_little_memory(
    signer: Signer, tmp_path: Path
) -> None:
    path = record(tmp_path / "x.mp4")
    with path.open("ab") as file:  # pictures that no index names, in parts as a recording has
        for _ in range(100):
            file.write((1_000_008).to_bytes(4) + b"mdat" + bytes(1_000_000))
    script = """
        import resource, sys, logging
        from pathlib import Path
        from config.schema import CredentialsSettings
        from models.bundle import open_bundle
        from provenance.signer import open_signer
        signer = open_signer(CredentialsSettings(), open_bundle(None), "1")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert signer.sign(Path(sys.argv[1]), [])
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    if sys.platform != "linux":
        pytest.skip("memory is counted in KiB on Linux only")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(path)], cwd=ROOT,
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert int(done.stdout) < 40_000
    assert read_credentials(path).state == "valid"


def test_stream_and_file_are_read_alike(film: Path) -> None:
    from provenance.credentials import read_stream

    assert read_stream(io.BytesIO(film.read_bytes()), "video/mp4") == read_credentials(film)
