"""API keys: how one is made, told from a typing error without a look-up, and stored (as its SHA-256 only).

    sk_live_ | sk_test_ | sk_admin_   32 base62 digits of chance   6 base62 digits of CRC32 over all that stands before

A secret scanner finds them by their form alone. This module must never write a key anywhere.
"""

import hashlib
import re
import zlib
from secrets import randbits
from typing import Literal

from chassis.ids import RandomBits

KeyEnvironment = Literal["live", "test", "admin"]

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_DIGITS = 32
_CHECK_DIGITS = 6
_FORM = re.compile(rf"sk_(?:live|test|admin)_[0-9A-Za-z]{{{_SECRET_DIGITS + _CHECK_DIGITS}}}")


def new_key(environment: KeyEnvironment, random_bits: RandomBits = randbits) -> str:
    """A fresh key with 190 bits of chance."""
    # 256 bits folded into 62**32 values: the bias is below 2**-65.
    head = f"sk_{environment}_{_base62(random_bits(256) % 62**_SECRET_DIGITS, _SECRET_DIGITS)}"
    return head + _check_digits(head)


def well_formed(key: str) -> bool:
    """Whether `key` has the form of a key and its checksum is right; says nothing about whether it exists."""
    return _FORM.fullmatch(key) is not None and key[-_CHECK_DIGITS:] == _check_digits(key[:-_CHECK_DIGITS])


def hash_of(key: str) -> str:
    """What is stored, and looked up, of a key: SHA-256 in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


def _check_digits(head: str) -> str:
    return _base62(zlib.crc32(head.encode()), _CHECK_DIGITS)


def _base62(number: int, digits: int) -> str:
    text = ""
    for _ in range(digits):
        number, digit = divmod(number, 62)
        text = _DIGITS[digit] + text
    return text
