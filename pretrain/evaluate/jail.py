"""Locks itself in, then becomes the program: `python jail.py FOLDER PROGRAM SECONDS MEGABYTES`.

Run as a script by execution.py, never imported by it; it needs the standard library alone. Locks,
each applied where the kernel has it, none of which the program can take off again:

    rlimits      seconds of processor, memory, size of a file, open files, no core dump
    namespaces   own users, network (no interface is up), IPC, host name
    Landlock     reads Python and the system's libraries only, writes FOLDER only, no TCP
    seccomp      no socket, no other process or thread, no signal to others, no ptrace, no io_uring

What held is measured, not assumed: execution.locks().
"""

import ctypes
import os
import platform
import resource
import struct
import sys

_NEWUSER, _NEWNET, _NEWIPC, _NEWUTS = 0x10000000, 0x40000000, 0x08000000, 0x04000000
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ = 0b1101  # execute, read file, read folder
# socket, clone, fork, vfork, clone3, kill, ptrace, pidfd_send_signal, io_uring_setup, tkill
_REFUSED = {
    "x86_64": (0xC000003E, (41, 56, 57, 58, 435, 62, 101, 424, 425, 200)),
    "aarch64": (0xC00000B7, (198, 220, 435, 129, 117, 424, 425, 130)),
}
_libc = ctypes.CDLL(None, use_errno=True)


def limit(seconds: float, megabytes: int) -> None:
    bounds = {
        resource.RLIMIT_CPU: int(seconds) + 1,
        resource.RLIMIT_AS: megabytes << 20,
        resource.RLIMIT_FSIZE: 1 << 20,
        resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_CORE: 0,
    }
    for which, most in bounds.items():
        resource.setrlimit(which, (most, most))


def leave_network() -> None:
    if _libc.unshare(_NEWUSER | _NEWNET | _NEWIPC | _NEWUTS):
        _libc.unshare(_NEWNET | _NEWIPC | _NEWUTS)  # for root where user namespaces are off


def restrict_files(folder: str) -> None:
    """Landlock: everything is refused but reading Python and libraries, and `folder`."""
    version = _libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return
    rights = (1 << {1: 13, 2: 14}.get(version, 15 if version < 5 else 16)) - 1
    attributes = struct.pack("QQ", rights, 0b11 if version >= 4 else 0)
    size = 16 if version >= 4 else 8
    ruleset = _libc.syscall(_CREATE_RULESET, attributes[:size], size, 0)
    places = {"/usr", "/lib", "/lib64", "/etc/ld.so.cache", sys.base_prefix, sys.prefix}
    allowed = [(place, _READ & rights) for place in places]
    allowed += [(os.path.realpath(sys.executable), 0b101), ("/dev/null", 0b110), (folder, rights)]
    for place, kind in allowed:
        try:
            descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        if not os.path.isdir(place):  # noqa: PTH112  no import but the least
            kind &= 0b111
        rule = struct.pack("=Qi", kind, descriptor)
        _libc.syscall(_ADD_RULE, ruleset, 1, rule, 0)
        os.close(descriptor)
    _libc.syscall(_RESTRICT_SELF, ruleset, 0)


def refuse_calls() -> None:
    """seccomp: the calls above fail with EPERM; of another architecture, all of them kill."""
    if platform.machine() not in _REFUSED:
        return
    architecture, numbers = _REFUSED[platform.machine()]
    load, equal, at_least, end = 0x20, 0x15, 0x35, 0x06
    kill, refuse, allow = 0x80000000, 0x00050001, 0x7FFF0000
    n = len(numbers)
    program = [
        (load, 0, 0, 4),
        (equal, 1, 0, architecture),
        (end, 0, 0, kill),
        (load, 0, 0, 0),
        (at_least, n, 0, 0x40000000),  # x32
        *((equal, n - i, 0, number) for i, number in enumerate(numbers)),
        (end, 0, 0, allow),
        (end, 0, 0, refuse),
    ]
    # The jump of x32 and of the numbers ends at `refuse`, one behind `allow`.
    program[4] = (at_least, n + 1, 0, 0x40000000)
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code)
    header = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer))
    _libc.prctl(_SECCOMP, _FILTER, header, 0, 0)


def main() -> None:
    folder, program, seconds, megabytes = sys.argv[1:]
    os.chdir(folder)
    limit(float(seconds), int(megabytes))
    leave_network()
    _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    restrict_files(folder)
    refuse_calls()
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-B", program])


if __name__ == "__main__":
    main()
