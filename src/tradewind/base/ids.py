"""Names for new things, and digests of values. Chance comes in as an argument."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from typing import Any

# No vowels and no look-alikes: an id spells no word and is read aloud without mistakes. Ids begin
# with a letter, so that they are DNS labels too.
_ALPHABET = "bcdfghjkmnpqrstvwxz23456789"
_LENGTH = 11

Entropy = Callable[[int], bytes]


def new_id(prefix: str, entropy: Entropy = secrets.token_bytes) -> str:
    """A fresh id such as `rk7m2p9xqz4d`: one prefix letter and about 52 random bits."""
    number = int.from_bytes(entropy(8), "big")
    letters = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[digit])
    return prefix + "".join(letters)


def digest_bytes(data: bytes) -> str:
    """`sha256:` and 64 hex digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def canonical(value: Any) -> str:
    """JSON with sorted keys and no blanks: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_json(value: Any) -> str:
    """The digest of a JSON value, independent of key order."""
    return digest_bytes(canonical(value).encode("utf-8", "surrogatepass"))
