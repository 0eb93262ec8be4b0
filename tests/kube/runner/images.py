"""Which images there are, and what a kubelet says of those that are not."""

import re
from collections.abc import Collection

DEFAULT_PREFIX = "tradewind"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)(?::[0-9]+)?|[A-Za-z0-9-]+:[0-9]+"
_REFERENCE = re.compile(
    rf"(?:(?P<host>{_HOST})/)?(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?P<digest>@sha256:[0-9a-f]{64})?"
)


def full_name(image: str) -> str:
    """`nope:1` -> `docker.io/library/nope:1`; "" if it is no image name."""
    found = _REFERENCE.fullmatch(image)
    if found is None:
        return ""
    host, path = found["host"] or "docker.io", found["path"]
    if host == "docker.io" and "/" not in path:
        path = f"library/{path}"
    tag = found["tag"] or ("" if found["digest"] else "latest")
    return f"{host}/{path}" + (f":{tag}" if tag else "") + (found["digest"] or "")


def exists(image: str, names: Collection[str]) -> bool:
    """Is it one of the names; with no names, does it begin like one of ours."""
    if not names:
        return image.rpartition("/")[2].startswith(DEFAULT_PREFIX)
    return full_name(image) in {full_name(name) for name in names}


def invalid(image: str) -> str:
    fault = "invalid reference format"
    if _REFERENCE.fullmatch(image.lower()):
        fault += f": repository name ({image.partition(':')[0]}) must be lowercase"
    what = f'couldn\'t parse image name "{image}"'
    return f'Failed to apply default image tag "{image}": {what}: {fault}'


def not_found(image: str) -> str:
    name = full_name(image)
    return (
        f'failed to pull and unpack image "{name}": failed to resolve reference "{name}": '
        f"{name}: not found"
    )


def never(image: str) -> str:
    return f'Container image "{image}" is not present with pull policy of Never'


def back_off(image: str) -> str:
    return f'Back-off pulling image "{image}": ErrImagePull: {not_found(image)}'
