"""The host's libcrypto (OpenSSL 3), found and typed in one place for all who call it by ctypes.

Each caller names the functions that it uses and gets a handle of its own: a missing function is a
matter of that caller alone, and nobody sees another's types.
"""

from __future__ import annotations

import ctypes
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gridsecure.errors import GridSecureError

NAMES: Final = (
    "libcrypto.so.3",
    "libcrypto.so.4",
    "libcrypto.3.dylib",
    "libcrypto-3-x64.dll",
    "libcrypto-3.dll",
)
FIRST_VERSION: Final = 0x30000000  # OpenSSL 3.0.0; 1.1.1 has CVE-2021-3711 in SM2 decryption

POINTER, INT, SIZE, TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t, ctypes.c_char_p

Signatures = Mapping[str, tuple[type | None, Sequence[type]]]
"""Function -> (result, arguments), as in the OpenSSL 3.0 manual pages of the same names."""


def load_libcrypto(
    signatures: Signatures, *, unavailable: Callable[[str], GridSecureError]
) -> ctypes.CDLL:
    """Return libcrypto with the named functions typed; importing ssl above has usually loaded it.

    Args:
        unavailable: Makes the caller's error from why libcrypto will not do.

    Raises:
        GridSecureError: What `unavailable` made: there is no libcrypto, it is older than 3.0, or it
            lacks a function.
    """
    for name in NAMES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        version = library.OpenSSL_version_num
        version.restype = ctypes.c_ulong
        if version() < FIRST_VERSION:
            raise unavailable("it is older than 3.0")
        try:
            for function, (result, arguments) in signatures.items():
                typed = getattr(library, function)
                typed.restype, typed.argtypes = result, arguments
        except AttributeError as missing:
            raise unavailable("a function is missing") from missing
        return library
    raise unavailable(f"no shared library found beside {ssl.OPENSSL_VERSION}")
