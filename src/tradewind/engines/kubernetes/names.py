"""What things are called in a cluster. Pure: equal originals give equal names, others another.

Tradewind's names are any text; a cluster's are short ASCII. So a name there is what can be kept of
the original, for people, and a hash of all of it, for uniqueness. The original stands in an
annotation under the same key.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from itertools import count

from tradewind.base.ids import canonical

# Keys of annotations (the originals); POOL, ROLE and EPOCH are labels too, in a valid form.
PLACEMENT = "tradewind.dev/placement"
RUN = "tradewind.dev/run"
TASK = "tradewind.dev/task"
ROLE = "tradewind.dev/role"
LEASE = "tradewind.dev/lease"
NUMBER = "tradewind.dev/number"
POOL = "tradewind.dev/pool"
EPOCH = "tradewind.dev/epoch"
# Whose it is: a label on everything. On the root, for people, where that one's server was.
STORE = "tradewind.dev/store"
URL = "tradewind.dev/url"
DONE = "tradewind.dev/done"
ROLES = "tradewind.dev/roles"
# What the engine writes later: on a replica's pod which one it is; on the root what was asked for.
UNIT = "tradewind.dev/unit"
WANTED = "tradewind.dev/wanted"
STOP = "tradewind.dev/stop"
TRIES = "tradewind.dev/tries"
# Since when its machine did not answer, when that was told last. Written in a pod.
SILENT = "tradewind.dev/silent"

# Labels that Kubernetes recommends; INSTANCE is the root's name.
NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"
PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "app.kubernetes.io/managed-by"
OURS = "tradewind"

_HEAD, _ROLE, _HASH, _LABEL, _PORT = 20, 10, 12, 63, 15
_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_SERVICE = re.compile(r"(?=[0-9-]*[a-z])[a-z0-9]+(-[a-z0-9]+)*")
# Annotations of one object share 256 KiB.
_MANY = 100_000


def slug(text: str, most: int, otherwise: str) -> str:
    """What is left of a text in lower-case ASCII letters, digits and single hyphens."""
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")[:most].rstrip("-") or otherwise


def label(text: str) -> str:
    """A label's value for it: itself where that is valid."""
    if _VALUE.fullmatch(text):
        return text
    return f"{slug(text, _LABEL - _HASH - 1, OURS)}-{_hash(text)}"


def base(placement: str) -> str:
    """The name of a placement's root: a DNS label of at most 33 characters, a letter first."""
    return f"{_head(placement)}-{_hash(placement)}"


def lease(pool: str) -> str:
    """The name of the Lease of a pool: one for each in a namespace."""
    return f"{slug(pool, _HEAD, OURS)}-{_hash(pool)}"


def selector(pool: str) -> str:
    """Which objects in a namespace are of this pool."""
    return f"{MANAGED_BY}={OURS},{POOL}={label(pool)}"


def others(pool: str, store: str) -> str:
    """Which of them are of another store. What has no mark was made before there were any."""
    return f"{selector(pool)},{STORE},{STORE}!={store}"


def child(placement: str, role: str, epoch: int = 1) -> str:
    """The name of a role's objects: a DNS label of at most 44 characters, so that a pod's name made
    from it stays one. An elastic gang has another for each epoch; its Service has the first's."""
    mark = _hash(canonical([placement, role, epoch]))
    return f"{_head(placement)}-{slug(role, _ROLE, 'role')}-{mark}"


def master(placement: str, role: str, epoch: int, namespace: str) -> str:
    """The host name of a gang's rank 0."""
    return f"{child(placement, role, epoch)}-0.{child(placement, role)}.{namespace}"


def ports(names: Sequence[str]) -> dict[str, str]:
    """Port name → its name in the cluster (RFC 6335: at most 15 characters, with a letter); the
    names of one pod stay different from each other."""
    valid = {name: name for name in names if len(name) <= _PORT and _SERVICE.fullmatch(name)}
    made: dict[str, str] = {}
    taken = set(valid)
    for name in names:
        if name not in valid and name not in made:
            made[name] = next(each for each in _candidates(name) if each not in taken)
            taken.add(made[name])
    return {name: valid.get(name) or made[name] for name in names}


def _candidates(name: str) -> Iterable[str]:
    for salt in count():
        yield f"{slug(name, 8, 'port')}-p{_hash(canonical([name, salt]))[:5]}"


def spans(items: Iterable[int]) -> str:
    """Items as text for an annotation: `0-4,7`, or a base64 bitmap (`b:…`) where that is shorter
    by much."""
    found: list[list[int]] = []
    for item in sorted(set(items)):
        if found and found[-1][1] == item - 1:
            found[-1][1] = item
        else:
            found.append([item, item])
    text = ",".join(f"{a}-{b}" if b > a else str(a) for a, b in found)
    if len(text) <= _MANY:
        return text
    bits = bytearray(found[-1][1] // 8 + 1)
    for first, last in found:
        for item in range(first, last + 1):
            bits[item >> 3] |= 1 << (item & 7)
    return "b:" + base64.b64encode(bits).decode()


def items(text: str) -> list[int]:
    """The inverse of `spans`, in order. Raises ValueError for anything else."""
    if text.startswith("b:"):
        bits = base64.b64decode(text[2:], validate=True)
        return [8 * i + bit for i, byte in enumerate(bits) for bit in range(8) if byte >> bit & 1]
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        found += range(int(first), int(last if dash else first) + 1)
    return found


def _head(placement: str) -> str:
    """What is left of a placement's id, a letter first."""
    head = slug(placement, _HEAD, "tw")
    return head if head[0].isalpha() else slug(f"tw-{head}", _HEAD, "tw")


def _hash(text: str) -> str:
    """60 bits of its SHA-256."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return base64.b32encode(digest).decode().lower()[:_HASH]
