"""``make test-kernel``: the tests beside this file, with real devices, in a virtual machine.

Debian's kernel and the source of v4l2loopback are downloaded with apt, not installed; the module is
built for that kernel. qemu shows it this machine's file system, read-only, and a memory of its own.
"""

import lzma
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parents[3]
WORK = ROOT / ".venv" / "kernel"
TREE = WORK / "tree"
"""Where the packages are unpacked."""
PROGRAMS = {
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "depmod": "kmod",
    "make": "make",
    "gcc": "gcc",
    "qemu-system-x86_64": "qemu-system-x86",
}
"""What it takes, and the Debian packages that have it."""
DRIVERS = ("virtio_pci", "9pnet_virtio", "9p")
"""Modules without which the machine cannot see the file system."""
LIMIT_S = 3000
"""Without hardware virtualization the machine is a hundred times slower than this one."""
END = "the tests of the kernel ended with"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INIT = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
for module in {modules}; do insmod /modules/$module; done
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144,cache=loose host /mnt
mount -t proc proc /mnt/proc; mount -t sysfs sysfs /mnt/sys; mount -t devtmpfs dev /mnt/dev
mount -t tmpfs memory /mnt/run
mkdir -m 700 /mnt/run/tests
chroot /mnt /usr/bin/env -i PATH={path} HOME=/run/tests TMPDIR=/run/tests OMP_NUM_THREADS=1 \\
    PYTHONDONTWRITEBYTECODE=1 E2E_MODULES={tree} /bin/sh -c 'cd {root} && {python} -m pytest -v \\
    -rA --color=no -p no:cacheprovider tests/e2e/kernel --basetemp=/run/tests/t; echo "{end} $?"'
poweroff -f
"""


class MissingError(Exception):
    """Something is not to be had; one line says what and how to get it."""


def main() -> int:
    """The exit status of the tests; 2 where something is missing."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    try:
        missing = [name for name in PROGRAMS if shutil.which(name) is None]
        if missing:
            packages = " ".join(PROGRAMS[name] for name in missing)
            raise MissingError(f"not installed: {', '.join(missing)}; sudo apt install {packages}")
        release = download()
        build(release)
        return boot(release)
    except MissingError as error:
        print(f"make test-kernel: {error}", file=sys.stderr)
        return 2


def download() -> str:
    """Unpack the kernel, its headers and the source of the module; the kernel's release."""
    image = _one_of("linux-image-amd64", r"linux-image-\S+")
    headers = _one_of("linux-headers-amd64", r"linux-headers-\S+")
    names = [image, headers, "v4l2loopback-dkms", "busybox-static"]
    names += [
        _one_of(headers, r"linux-headers-\S+-common\S*"),
        _one_of(headers, r"linux-kbuild-\S+"),
    ]
    done = WORK / "done"
    if done.exists() and done.read_text() == " ".join(names):
        return image.removeprefix("linux-image-")
    shutil.rmtree(WORK, ignore_errors=True)
    TREE.mkdir(parents=True)
    print(f"downloading {', '.join(names)}", flush=True)
    _run(
        ["apt-get", "download", "-qq", *names],
        "packages cannot be downloaded; sudo apt update",
        WORK,
    )
    for package in WORK.glob("*.deb"):
        _run(["dpkg-deb", "-x", str(package), str(TREE)], "a package cannot be unpacked")
        package.unlink()
    if not (TREE / "lib/modules").exists():
        (TREE / "lib").symlink_to("usr/lib")
    done.write_text(" ".join(names))
    return image.removeprefix("linux-image-")


def _one_of(package: str, pattern: str) -> str:
    """The package on which ``package`` depends."""
    told = _run(["apt-cache", "depends", package], f"apt does not know {package}")
    found = re.search(rf"^ *Depends: ({pattern})$", told, re.MULTILINE)
    if found is None:
        raise MissingError(f"apt does not know {package}: Debian's kernel for amd64 is needed")
    return found[1]


def build(release: str) -> None:
    """The module, for that kernel, beside the modules of its package."""
    built = TREE / "lib/modules" / release / "updates/v4l2loopback.ko"
    if built.exists():
        return
    headers = TREE / "usr/src" / f"linux-headers-{release}"
    makefile = headers / "Makefile"  # it leads to where the package would be installed
    makefile.write_text(re.sub(r"(?m)^include /usr", f"include {TREE}/usr", makefile.read_text()))
    source = next((TREE / "usr/src").glob("v4l2loopback-*"))
    words = ["make", "-C", str(headers), f"M={source}", "CC=gcc", "modules"]
    _run(words, "v4l2loopback cannot be built")
    built.parent.mkdir(exist_ok=True)
    shutil.copy(source / "v4l2loopback.ko", built)
    _run(["depmod", "-b", str(TREE), release], "the modules cannot be listed")


def boot(release: str) -> int:
    """Run the tests in the machine; their exit status."""
    folder = TREE / "lib/modules" / release
    files = {"bin/busybox": (next(TREE.glob("**/bin/busybox")).read_bytes())}
    drivers = _with_what_they_need(folder)
    for driver in drivers:
        data = driver.read_bytes()
        name = driver.name.removesuffix(".xz")
        files[f"modules/{name}"] = lzma.decompress(data) if driver.suffix == ".xz" else data
    files["init"] = _INIT.format(
        modules=" ".join(driver.name.removesuffix(".xz") for driver in drivers),
        path=_PATH, tree=TREE, root=ROOT, python=sys.executable, end=END,
    ).encode()  # fmt: skip
    memory = WORK / "initramfs"
    memory.write_bytes(archive(files))
    words = [
        "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
        "-m", "2048", "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio",
        "-kernel", str(next(TREE.glob("boot/vmlinuz-*"))), "-initrd", str(memory),
        "-append", "console=ttyS0 quiet panic=-1",
        "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
    ]  # fmt: skip
    status = 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with (
        subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as machine,
        ExitStack() as end,
    ):
        end.callback(machine.kill)
        limit = threading.Timer(LIMIT_S, machine.kill)
        end.callback(limit.cancel)
        limit.start()
        assert machine.stdout is not None
        for data in machine.stdout:
            line = data.decode("utf-8", "replace").rstrip()
            print(line, flush=True)
            if (ended := re.search(rf"{END} (\d+)", line)) is not None:
                status = int(ended[1])
    return status


def _with_what_they_need(folder: Path) -> list[Path]:
    """The files of ``DRIVERS`` and of the modules that each needs, these first."""
    needs = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        name, _, others = line.partition(":")
        needs[re.sub(r"\.ko(\.xz)?$", "", Path(name).name)] = [*reversed(others.split()), name]
    found: list[Path] = []
    for driver in DRIVERS:  # what is built in has no file
        found += [folder / name for name in needs.get(driver, [])]
    return list(dict.fromkeys(found))


def archive(files: dict[str, bytes]) -> bytes:
    """Programs and folders for the kernel's first memory, as it reads them (cpio, newc)."""
    folders = ["bin", "modules", "proc", "sys", "dev", "mnt"]
    entries = [(name, 0o040755, b"") for name in folders]
    entries += [(name, 0o100755, data) for name, data in files.items()]
    packed = b""
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")]):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        packed += head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
    return packed


def _run(words: list[str], failed: str, folder: Path | None = None) -> str:
    """What a program prints. Raises MissingError with ``failed`` and its last words."""
    done = subprocess.run(words, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "without a word").splitlines()[-1]
        raise MissingError(f"{failed} ({words[0]}: {last})")
    return done.stdout


if __name__ == "__main__":
    raise SystemExit(main())
