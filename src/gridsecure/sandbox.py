"""What the kernel keeps from a process that decodes foreign bytes: files, network, other programs.

A process that confines itself keeps the files that it has open and the folders that are named, and
loses the rest for good, with every thread and file that it opens later. Two means of Linux do it,
each where the kernel has it: *Landlock* closes the file system, TCP, signals to and memory of other
processes; a *seccomp* filter refuses the calls that make sockets, start programs or processes, look
into others or slow them down, change owners of files, or empty files past an old Landlock. The
filter is compiled by the host's libseccomp, which knows the numbers of calls of each machine;
Landlock has a few calls and no library is needed.

Invariants:
- Nobody can widen a confinement again, neither here nor in a program that it starts.
- It is tried out when it is in force: a process that still sees the root folder, or still opens a
  socket, ends with an error instead of going on.
- Landlock holds for the thread that asks for it, so a process confines itself while it has one.

Not here: memory and processor time (limits of the service), and what a worker may answer.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

from gridsecure.errors import GridSecureError, InputError

SandboxWish = Literal["available", "required", "off"]
"""Whether processes are confined: as far as this kernel can, wholly or not at all, never."""

PACKAGES: Final = ("gridsecure", "gridsecure_api", "gridsecure_dashboard")

_SYSTEM_FOLDERS: Final = (
    "/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib",
    "/usr/share/zoneinfo",
)  # fmt: skip
_SYSTEM_FILES: Final = ("/etc/ld.so.cache", "/etc/localtime", "/dev/urandom", "/dev/random")
_NETWORK_FILES: Final = (
    "/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf",
    "/etc/services", "/etc/ssl", "/etc/pki", "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
)  # fmt: skip
"""What it takes to find a host by its name and to know its certificate."""
_WRITTEN_FILES: Final = ("/dev/null",)

# --- Landlock, from linux/landlock.h; its calls have these numbers on every machine
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_EXECUTE, _WRITE, _READ, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_FOLDER, _REMOVE_FILE, _MAKE_FOLDER, _MAKE_FILE = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_MAKE_SOCKET: Final = 1 << 9
_TRUNCATE, _IOCTL = 1 << 14, 1 << 15
_OF_FILES: Final = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL
_FS_RIGHTS: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights that a version knows, by the first version that knows them."""
_MAY_READ: Final = _READ | _READ_DIR
_MAY_WRITE: Final = (  # nothing but files and folders: no devices, pipes, sockets and links
    _MAY_READ | _WRITE | _TRUNCATE | _MAKE_FILE | _MAKE_FOLDER | _REMOVE_FILE | _REMOVE_FOLDER
)
_TCP: Final = 0b11
_TRUNCATE_SINCE, _TCP_SINCE, _SCOPES_SINCE = 3, 4, 6
_BIND_TCP: Final = 0b01
_SCOPES: Final = 0b11  # abstract sockets and signals of processes outside
_NO_NEW_PRIVILEGES: Final = 38

# --- libseccomp, from seccomp.h
_LIBRARY: Final = "libseccomp.so.2"
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_NOT_EQUAL, _EQUAL, _MASKED_EQUAL = 1, 4, 7
_GREATER: Final = 6
_THREAD: Final = 0x00010000  # CLONE_THREAD
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_STREAM, _DATAGRAM = 1, 2
_TYPE_OF_SOCKET: Final = 0xF
_INT: Final = 0xFFFFFFFF
"""What the kernel looks at of a number of 64 bits that stands for one of 32."""

_NO_SOCKETS: Final = ("socket", "bind", "listen", "accept", "accept4")
_NO_PROGRAMS: Final = ("execve", "execveat", "fork", "vfork")
_NOT_OTHERS: Final = (
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_open",
    "pidfd_getfd", "pidfd_send_signal", "kill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
    "shmget", "shmat", "semget", "msgget", "mq_open", "keyctl", "add_key", "request_key",
)  # fmt: skip
_NOT_THE_KERNEL: Final = (
    "bpf", "perf_event_open", "userfaultfd", "init_module", "finit_module", "delete_module",
    "kexec_load", "kexec_file_load", "mount", "umount", "umount2", "move_mount", "fsopen",
    "fsconfig", "fsmount", "fspick", "open_tree", "mount_setattr", "pivot_root", "chroot",
    "unshare", "setns", "open_by_handle_at", "name_to_handle_at", "reboot", "swapon", "swapoff",
    "sethostname", "setdomainname", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex",
    "iopl", "ioperm", "quotactl", "quotactl_fd", "acct", "syslog", "modify_ldt", "lookup_dcookie",
    "nfsservctl", "personality", "uselib", "vhangup", "fanotify_init", "open_tree_attr",
    # A ring makes sockets and opens files by orders in memory, which no filter sees.
    "io_uring_setup", "io_uring_enter", "io_uring_register",
)  # fmt: skip
_NO_OWNERS: Final = (  # of files by name, which Landlock does not look at
    "chmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchownat", "setxattr", "lsetxattr",
    "setxattrat", "removexattr", "lremovexattr", "removexattrat", "utime", "utimes", "futimesat",
    "utimensat", "file_setattr",
)  # fmt: skip
_NO_EMPTYING: Final = ("truncate", "truncate64")  # Landlock looks at it since its third version
_NEWER: Final = {
    "openat2": 437, "fchmodat2": 452, "setxattrat": 463, "removexattrat": 466,
    "open_tree_attr": 467, "file_setattr": 469,
}  # fmt: skip
"""Calls that a host's libseccomp may not know yet; they have these numbers on every machine."""
_ONLY_FOR_ITSELF: Final = (  # calls, and the argument that must be 0, which is this very process
    ("prlimit64", 0), ("sched_setaffinity", 0), ("sched_setscheduler", 0), ("sched_setparam", 0),
    ("sched_setattr", 0), ("setpriority", 0), ("setpriority", 1), ("ioprio_set", 1),
    ("migrate_pages", 0), ("move_pages", 0),
)  # fmt: skip
_NOT_THESE_ORDERS: Final = (  # calls, and the number of an order that they do not give
    ("fcntl", 8), ("fcntl", 10), ("fcntl", 15),  # F_SETOWN, F_SETSIG, F_SETOWN_EX: signals
    ("ioctl", 0x8901), ("ioctl", 0x8902),  # FIOSETOWN, SIOCSPGRP: the same
    ("ioctl", 0x5412), ("ioctl", 0x541C),  # TIOCSTI, TIOCLINUX: keys typed at a terminal
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Walls:
    """What this kernel has for it.

    Args:
        landlock: The version of Landlock; 0 where there is none.
        seccomp: Whether there are filters of calls, and the library that compiles them.
    """

    landlock: int
    seccomp: bool

    @property
    def are_whole(self) -> bool:
        """Whether files, network and programs can all be kept from a process."""
        return bool(self.landlock) and self.seccomp

    @property
    def close_files(self) -> bool:
        """Whether files are kept from a process; by Landlock 1 and 2 alone they can be emptied."""
        return self.landlock >= _TRUNCATE_SINCE or self.are_whole


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a process keeps.

    Args:
        wish: What is done where the kernel can do less.
        reads: Folders and files besides those of Python and the product.
        writes: Folders in which it reads and writes; one that is missing is made.
        network: Whether it keeps the network: sockets of the internet's two families.
        door: The folder of a Unix-domain socket that it makes and listens on; it connects nowhere.
        variables: What it is given of the environment, besides what is nobody's secret.
    """

    wish: SandboxWish = "available"
    reads: Sequence[str] = ()
    writes: Sequence[str] = ()
    network: bool = False
    door: str = ""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)


@cache
def find_walls() -> Walls:
    """What this kernel has; asked once."""
    if sys.platform != "linux":
        return Walls(0, seccomp=False)
    landlock = max(0, int(_libc().syscall(_CREATE_RULESET, None, 0, _VERSION)))
    with suppress(OSError):
        _seccomp()
        # EFAULT tells a kernel that has filters; it never gets as far as to look at one.
        _libc().prctl(22, 2, None, 0, 0)  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        return Walls(landlock, seccomp=ctypes.get_errno() == errno.EFAULT)
    return Walls(landlock, seccomp=False)


def check_walls(wish: SandboxWish, *, walls: Walls | None = None) -> None:
    """Refuse to start where a sandbox is required that this kernel cannot make.

    Args:
        walls: What there is; this kernel's by default.

    Raises:
        InputError: It cannot (`sandbox.unavailable`).
    """
    found = find_walls() if walls is None else walls
    if wish == "required" and not found.are_whole:
        missing = [
            name
            for name, is_there in (("Landlock", found.landlock), ("seccomp", found.seccomp))
            if not is_there
        ]
        raise InputError(
            f"A sandbox is required, and this machine lacks {' and '.join(missing)}.",
            reason="sandbox.unavailable",
            remedy="Run it on Linux 5.13 or newer with Landlock and libseccomp 2, or set the "
            "zone's setting SANDBOX to available (docs/deployment.md).",
        )


def name_open(walls: Walls, *, network: bool) -> list[str]:
    """What such walls leave open; nothing where a process is wholly confined.

    Args:
        network: Whether it keeps the network.
    """
    closed = {
        "files": walls.close_files,
        "the network": walls.seccomp and not network,
        "programs": walls.seccomp,
    }
    return [name for name, is_closed in closed.items() if not is_closed]


def confine(confinement: Confinement) -> None:
    """Give up, for good, whatever is not named.

    Raises:
        GridSecureError: The kernel did not do what it said it could, or this process has threads
            already (`sandbox.failed`).
        InputError: As `check_walls`.
    """
    if confinement.wish == "off":
        return
    walls = find_walls()
    check_walls(confinement.wish, walls=walls)
    try:
        if walls.landlock:
            _close_files(confinement, version=walls.landlock)
        if walls.seccomp:
            _refuse_calls(confinement)
        _prove(walls, network=confinement.network)
    except OSError as error:
        raise GridSecureError(
            "A process could not be confined, and ends.",
            reason="sandbox.failed",
            remedy="Compare what the service says of its sandbox at /about with what this machine "
            f"has ({error.strerror}); the setting SANDBOX=off runs it without.",
        ) from error


def _close_files(confinement: Confinement, *, version: int) -> None:
    if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208 - a name for each thread
        raise OSError(errno.EBUSY, "there are other threads")
    handled = max(rights for since, rights in _FS_RIGHTS.items() if since <= version)
    tcp = 0 if version < _TCP_SINCE else _BIND_TCP if confinement.network else _TCP
    scopes = _SCOPES if version >= _SCOPES_SINCE else 0
    about = (ctypes.c_uint64 * 3)(handled, tcp, scopes)
    ruleset = _called(_libc().syscall(_CREATE_RULESET, about, ctypes.sizeof(about), 0))
    for folder in confinement.writes:
        Path(folder).mkdir(parents=True, exist_ok=True)
    reads = [*_needed(), *confinement.reads, *(_NETWORK_FILES if confinement.network else ())]
    allowed = (
        (reads, _MAY_READ),
        ([*confinement.writes, *_WRITTEN_FILES], _MAY_WRITE),
        ([confinement.door] if confinement.door else [], _MAY_WRITE | _MAKE_SOCKET),
    )
    for paths, rights in allowed:
        for path in paths:
            _open_path(ruleset, path, rights & handled)
    _called(_libc().prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _called(_libc().syscall(_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _needed() -> list[str]:
    """Where Python, its libraries and this product lie; what is loaded late comes from there."""
    installed = sysconfig.get_paths()
    python = [installed[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    product = [place for name in PACKAGES for place in _places(name)]
    return [*python, *product, *_SYSTEM_FOLDERS, *_SYSTEM_FILES]


def _places(package: str) -> Iterable[str]:
    spec = find_spec(package)
    return () if spec is None else spec.submodule_search_locations or ()


def _open_path(ruleset: int, path: str, rights: int) -> None:
    """Leave a folder, or a file, to this process; one that is not there stays closed."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return
    try:
        if not Path(f"/proc/self/fd/{place}").is_dir():
            rights &= _OF_FILES
        beneath = rights.to_bytes(8, sys.byteorder) + place.to_bytes(4, sys.byteorder)
        _called(_libc().syscall(_ADD_RULE, ruleset, _PATH_BENEATH, beneath, 0))
    finally:
        os.close(place)


class _Comparison(ctypes.Structure):
    """An argument of a call beside a value: `scmp_arg_cmp`."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("how", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def _refuse_calls(confinement: Confinement) -> None:
    library = _seccomp()
    filters = library.seccomp_init(_ALLOW)
    if not filters:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    try:
        calls = [*_NO_PROGRAMS, *_NOT_OTHERS, *_NOT_THE_KERNEL, *_NO_OWNERS, *_NO_EMPTYING]
        if not confinement.network:
            calls.append("connect")
        if not confinement.network and not confinement.door:
            calls += _NO_SOCKETS
        for name in calls:
            _refuse(filters, name)
        _refuse_families(filters, confinement)
        _refuse_by_arguments(filters)
        _called(library.seccomp_load(filters))
    finally:
        library.seccomp_release(filters)


def _refuse_families(filters: int, confinement: Confinement) -> None:
    """Leave sockets of the internet, or those of a door, and pairs that are joined for good.

    A socket of the domain of files reaches every service that listens at one, which Landlock does
    not look at. As datagrams it needs no `connect` for that, and neither does one of a pair.
    """
    _refuse_types(filters, "socketpair", kept=(_STREAM,))
    if confinement.network:
        closed = [domain for domain in range(_AF_INET6) if domain != _AF_INET]
        for domain in closed:
            _refuse(filters, "socket", _Comparison(0, _EQUAL, domain, 0))
        _refuse(filters, "socket", _Comparison(0, _GREATER, _AF_INET6, 0))
        _refuse_types(filters, "socket", kept=(_STREAM, _DATAGRAM))
    elif confinement.door:
        _refuse(filters, "socket", _Comparison(0, _NOT_EQUAL, _AF_UNIX, 0))
        _refuse_types(filters, "socket", kept=(_STREAM,))


def _refuse_types(filters: int, name: str, *, kept: Sequence[int]) -> None:
    for kind in set(range(_TYPE_OF_SOCKET + 1)).difference(kept):
        _refuse(filters, name, _Comparison(1, _MASKED_EQUAL, _TYPE_OF_SOCKET, kind))


def _refuse_by_arguments(filters: int) -> None:
    """Refuse what is refused for some arguments only."""
    # Threads are of this process, and so are signals to itself.
    _refuse(filters, "clone", _Comparison(0, _MASKED_EQUAL, _THREAD, 0))
    _refuse(filters, "tgkill", _Comparison(0, _NOT_EQUAL, os.getpid(), 0))
    for name, argument in _ONLY_FOR_ITSELF:
        _refuse(filters, name, _Comparison(argument, _NOT_EQUAL, 0, 0))
    _refuse(filters, "ioprio_set", _Comparison(0, _NOT_EQUAL, 1, 0))  # IOPRIO_WHO_PROCESS
    for name, order in _NOT_THESE_ORDERS:
        _refuse(filters, name, _Comparison(1, _MASKED_EQUAL, _INT, order))
    # A file that is emptied as it is opened, and not opened for writing: see `_NO_EMPTYING`.
    for name, argument in (("open", 1), ("openat", 2)):
        for access in (os.O_RDONLY, os.O_ACCMODE):
            looked_at = os.O_TRUNC | os.O_ACCMODE
            refused = _Comparison(argument, _MASKED_EQUAL, looked_at, os.O_TRUNC | access)
            _refuse(filters, name, refused)
    # What they would do stands in memory, which filters cannot read: libraries then use others.
    for name in ("clone3", "openat2"):
        _refuse(filters, name, number=errno.ENOSYS)


def _refuse(filters: int, name: str, *where: _Comparison, number: int = errno.EPERM) -> None:
    library = _seccomp()
    call = library.seccomp_syscall_resolve_name(name.encode())
    if call == -1:  # a library that is older than the call
        call = _NEWER.get(name, -1)
    if call == -1:  # a machine that has none of it
        return
    compared = (_Comparison * len(where))(*where)
    _called(library.seccomp_rule_add_array(filters, _ERRNO | number, call, len(where), compared))


def _prove(walls: Walls, *, network: bool) -> None:
    """Try what must be refused now."""
    if walls.landlock:
        with suppress(PermissionError):
            os.listdir("/")  # noqa: PTH208 - one call that must fail
            raise OSError(errno.EPROTO, "the root folder is still open")
    if walls.seccomp:
        with suppress(PermissionError):
            os.execve("", ["-"], {})  # noqa: S606 - no program; without the filter it is not found
        with suppress(PermissionError):
            socket.socket(_AF_UNIX if network else _AF_INET).close()
            raise OSError(errno.EPROTO, "a socket can still be opened")


def _called(result: int) -> int:
    if result < 0:
        # libseccomp returns the error with a minus, the C library keeps it aside.
        number = -result if result < -1 else ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


@cache
def _seccomp() -> Any:
    library = ctypes.CDLL(_LIBRARY)
    library.seccomp_init.argtypes, library.seccomp_init.restype = [ctypes.c_uint32], ctypes.c_void_p
    library.seccomp_release.argtypes = library.seccomp_load.argtypes = [ctypes.c_void_p]
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p,
    ]  # fmt: skip
    return library
