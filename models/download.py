"""Fetch published weights: several mirrors, resumed where cut, checked before they get their name.

A download grows in ``<file>.part``; beside it ``<file>.part.json`` says where the bytes came from.
Only a complete file with the right size and hash is renamed to ``<file>``, so a file in the cache
is whole. It does not look out for a second download of the same file at the same time.
"""

import contextlib
import errno
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from tqdm import tqdm

from config.errors import DownloadError
from models.published import Receipt, Weights, allowed, file_hash, part_of, write_receipt

CHUNK = 1 << 18
"""Largest piece that is read and written at once, bytes."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _CutError(Exception):
    """The transfer broke off; the same mirror is worth another try."""


class _MirrorError(Exception):
    """This mirror cannot give the file; the next one may."""


@dataclass(frozen=True, slots=True)
class _Progress:
    """What is known of a ``.part`` file."""

    url: str
    total: int
    """Bytes of the whole file."""
    validator: str | None
    """A strong ETag or a Last-Modified date, to be sent back as If-Range."""


def download(
    weights: Weights,
    folder: Path,
    *,
    timeout_s: float = 30.0,
    attempts: int = 4,
    wait_s: float = 1.0,
    show_progress: bool | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Fetch ``weights`` into ``folder`` and return the path of the complete, checked file.

    Each mirror gets ``attempts`` tries in a row that bring nothing new, with waits of ``wait_s``,
    twice that, and so on, seconds. ``timeout_s``: seconds without a byte that end a try.
    ``show_progress``: None shows the bar on a terminal only. ``say`` gets one line an event.
    Raises DownloadError when no mirror gave the file or it cannot be written; bytes that may be
    resumed stay in the ``.part`` file.
    """
    target = folder / weights.file
    part = part_of(target)
    fetch = _Fetch(weights, part, timeout_s, attempts, wait_s, show_progress, say)
    failures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for url in weights.mirrors:
            try:
                digest = fetch.from_mirror(url)
            except _MirrorError as error:
                failures.append(f"{urlsplit(url).hostname}: {error}")
                say(failures[-1])
                continue
            write_receipt(target, Receipt(url, part.stat().st_size, digest))
            os.replace(part, target)
            _note_of(part).unlink(missing_ok=True)
            return target
    except OSError as error:
        raise _cannot_write(error, folder, part) from error
    raise DownloadError(
        f"could not download {weights.name}: {'; '.join(failures)}. Try again later, or fetch "
        f"{weights.file} from one of these addresses on another machine and run "
        f"'puppetcam models import {weights.file}': {' '.join(weights.mirrors)}"
    )


@dataclass(frozen=True, slots=True)
class _Fetch:
    weights: Weights
    part: Path
    timeout_s: float
    attempts: int
    wait_s: float
    show_progress: bool | None
    say: Callable[[str], None]

    def from_mirror(self, url: str) -> str:
        """Complete and check the ``.part`` file; returns its sha256."""
        resumed = _size(self.part) > 0
        self._complete(url)
        digest = file_hash(self.part)
        if self.weights.sha256 in (None, digest):
            return digest
        _discard(self.part)
        if resumed:  # the older bytes may be the bad ones: this mirror has a right to a clean try
            self.say("the resumed file has a wrong hash; starting over")
            self._complete(url)
            digest = file_hash(self.part)
            if digest == self.weights.sha256:
                return digest
            _discard(self.part)
        raise _MirrorError(
            f"sent a file with sha256 {digest}, expected {self.weights.sha256}; deleted it"
        )

    def _complete(self, url: str) -> None:
        left, wait_s, most = self.attempts, self.wait_s, _size(self.part)
        while True:
            have, note = self._usable(url)
            if have and have == (self.weights.size or (note.total if note else None)):
                return
            try:
                self._transfer(url, have, note)
            except _CutError as cut:
                left -= 1
                if _size(self.part) > most:
                    left, wait_s, most = self.attempts, self.wait_s, _size(self.part)
                if left <= 0:
                    raise _MirrorError(f"{cut} (tries: {self.attempts})") from cut
                self.say(f"{cut}; trying again")
                time.sleep(wait_s)
                wait_s *= 2
            else:
                return

    def _usable(self, url: str) -> tuple[int, _Progress | None]:
        """Bytes that may be resumed from ``url``, and their note if they came from there.

        Bytes of another mirror, or without a version mark, are kept only where a published hash
        will tell whether they belong together; bytes beyond the file's end never.
        """
        have, note = _size(self.part), _read_note(self.part)
        if note and note.url != url:
            note = None
        sure = bool(self.weights.sha256 or (note and note.validator))
        if have and (not sure or have > (self.weights.size or have)):
            self.say("the partial file cannot be resumed from this mirror; starting over")
            _discard(self.part)
            return 0, None
        return have, note

    def _transfer(self, url: str, have: int, note: _Progress | None) -> None:
        """One request; returns when the ``.part`` file is complete."""
        request = urllib.request.Request(url)  # noqa: S310 - Weights lets in https only
        request.add_header("User-Agent", "puppetcam")
        request.add_header("Accept-Encoding", "identity")
        if have:
            request.add_header("Range", f"bytes={have}-")
            if note and note.validator:
                request.add_header("If-Range", note.validator)
        response = self._open(request, have)
        with response:
            headers = response.headers
            start, total = self._place(response.status, headers, have)
            validator = _validator(headers)
            marks = {validator, note.validator} - {None} if note else set()
            if start and note and (len(marks) > 1 or total != note.total):
                _discard(self.part)
                raise _CutError("the file on the server changed since the first part of it came")
            first = _receive(response, 512)
            if headers.get_content_type() == "text/html" or (start == 0 and _is_page(first)):
                raise _MirrorError("sent a web page instead of the file")
            if not first:
                raise _CutError("the connection ended before the first byte")
            if have and not start:
                self.say("the server sends the file from its beginning; starting over")
            self._make_sure_of_room(total - start, start)
            _write_note(self.part, _Progress(url, total, validator))
            done = self._append(response, first, start, total)
        if done < total:
            raise _CutError(f"the connection ended after {done:,} of {total:,} bytes")

    def _open(self, request: urllib.request.Request, have: int) -> Any:
        opener = urllib.request.build_opener(_HttpsRedirects)
        try:
            return opener.open(request, timeout=self.timeout_s)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416 and have:
                    _discard(self.part)
                    raise _CutError("the server has no more bytes than the partial file") from error
                if error.code in (408, 429) or error.code >= 500:
                    raise _CutError(f"the server answered {error.code}") from error
                if 300 <= error.code < 400:
                    raise _MirrorError("redirects without end") from error
                raise _MirrorError(f"the server answered {error.code}") from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, socket.gaierror):
                raise _MirrorError("host not found (is this machine offline?)") from error
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise _MirrorError("its certificate is not valid") from error
            raise _CutError(_one_line(error.reason)) from error
        except (OSError, http.client.HTTPException) as error:
            raise _CutError(_one_line(error)) from error
        except ValueError as error:  # an address that cannot be sent, of a mirror or a redirect
            raise _MirrorError(f"not a usable address: {_one_line(error)}") from error

    def _place(self, status: int, headers: Message, have: int) -> tuple[int, int]:
        """Offset of the first byte of this answer, and the size of the whole file."""
        if headers.get("Content-Encoding", "identity") != "identity":
            raise _MirrorError("sends the file compressed, which was not asked for")
        start, total = 0, None
        if status == 206:
            text = headers.get("Content-Range", "")
            match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", text)
            if not match or int(match[1]) != have or not have:
                raise _MirrorError(f"answered with the range {text!r}, asked was byte {have}")
            start = have
            total = None if match[3] == "*" else int(match[3])
        elif status == 200:
            length = headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
        else:
            raise _MirrorError(f"the server answered {status}")
        expected = self.weights.size
        if total is None and expected is None:
            raise _MirrorError("does not tell the file's size, so a cut could not be noticed")
        if total is not None and expected is not None and total != expected:
            raise _MirrorError(f"has a file of {total:,} bytes, expected {expected:,}")
        return start, expected or total or 0

    def _make_sure_of_room(self, needed: int, start: int) -> None:
        # What lies in the part file beyond ``start`` is overwritten, so its room counts as free.
        free = shutil.disk_usage(self.part.parent).free + _size(self.part) - start
        if needed > free:
            raise OSError(errno.ENOSPC, f"{needed:,} bytes are needed, {free:,} are free")

    def _append(self, response: Any, first: bytes, start: int, total: int) -> int:
        """Write the answer to the ``.part`` file from ``start`` on; returns its size then."""
        done, piece = start, first
        bar = tqdm(
            total=total,
            initial=start,
            desc=self.weights.name,
            unit="B",
            unit_scale=True,
            disable=None if self.show_progress is None else not self.show_progress,
        )
        with bar, self.part.open("ab" if start else "wb") as file:
            try:
                while piece:
                    file.write(piece)
                    done += len(piece)
                    bar.update(len(piece))
                    piece = _receive(response, min(CHUNK, total - done)) if done < total else b""
            finally:  # after a cut, too: what came is there for the next try
                file.flush()
                os.fsync(file.fileno())
        return done


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects as urllib does (ten at most), but never from https to anything else."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not allowed(newurl) or (req.type == "https" and urlsplit(newurl).scheme != "https"):
            raise _MirrorError(f"redirects to {newurl!r}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _receive(response: Any, size: int) -> bytes:
    try:
        received: bytes = response.read1(size)
        return received
    except (OSError, http.client.HTTPException) as error:
        raise _CutError(_one_line(error)) from error


def _is_page(beginning: bytes) -> bool:
    return beginning.lstrip().lower().startswith((b"<!doctype", b"<html", b"<head", b"<?xml"))


def _validator(headers: Message) -> str | None:
    etag = headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    return headers.get("Last-Modified")


def _cannot_write(error: OSError, folder: Path, part: Path) -> DownloadError:
    if error.errno in _DISK_FULL:
        return DownloadError(
            f"no room in {folder}: {error.strerror}. Free some, or choose another folder with the "
            f"environment variable PUPPETCAM_CACHE; the {_size(part):,} bytes that came are kept, "
            "and the same command continues from there"
        )
    return DownloadError(f"cannot write to {folder}: {error.strerror or error}")


def _one_line(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "timed out"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return " ".join(str(reason).split()) or type(reason).__name__


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note_of(part).unlink(missing_ok=True)


def _note_of(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_note(part: Path) -> _Progress | None:
    with contextlib.suppress(OSError, ValueError, TypeError):
        found = json.loads(_note_of(part).read_text(encoding="utf-8"))
        match found:
            case {
                "url": str(url),
                "total": int(total),
                "validator": str() | None as mark,
            }:
                return _Progress(url, total, mark)
    return None


def _write_note(part: Path, note: _Progress) -> None:
    text = {"url": note.url, "total": note.total, "validator": note.validator}
    _note_of(part).write_text(json.dumps(text) + "\n", encoding="utf-8")
