"""What a pool's spec may say to this engine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tradewind import __version__
from tradewind.base.errors import InvalidSpec, Location
from tradewind.engines.base import Place
from tradewind.engines.kubernetes.render import Context

KNOWN = {
    "context": "the kubeconfig's context; left out: its current one",
    "kubeconfig": "the path of the kubeconfig; left out: KUBECONFIG, ~/.kube/config, or the pod's",
    "namespace": "left out: the context's",
    "image": "what tasks run in; left out: TRADEWIND_IMAGE, or Tradewind's own of this version",
    "server": "where tasks reach this server; left out: TRADEWIND_URL, or its own address",
    "pull_secret": "the name of a Secret with the registry's credentials",
    "service_account": "the account that tasks run under",
    "rack": "the label of machines that tells their rack; left out: none tells it",
}


# What a machine takes for an image's name: where it is, what it is called, which one of it.
# Capitals may stand in a host only, which needs no dot then.
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9]+(?:[.-]+[A-Za-z0-9]+)*|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"
_IMAGE = re.compile(
    rf"(?P<name>(?:{_HOST}/)?{_PART}(?:/{_PART})*)"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)
_LONGEST_IMAGE = 255


def check(options: Mapping[str, Any]) -> None:
    """Raise InvalidSpec for options that this engine does not have, or that can mean nothing."""
    for name, value in options.items():
        if name not in KNOWN:
            raise InvalidSpec(
                f"a pool of engine kubernetes has no option {name!r}",
                hint=f"options: {', '.join(KNOWN)}",
                where=Location(field=f"options.{name}"),
            )
        if not isinstance(value, str) or not value.strip():
            raise InvalidSpec(
                f"the option {name!r} is text, not {value!r}",
                where=Location(field=f"options.{name}"),
            )
    if "image" in options:
        _check_image(options["image"])


def _check_image(image: str) -> None:
    found = _IMAGE.fullmatch(image)
    if found is None or len(found["name"]) > _LONGEST_IMAGE:
        raise InvalidSpec(
            f"{image!r} is no name of an image",
            hint="write it as HOST/NAME:TAG or HOST/NAME@sha256:…, the name in small letters",
            where=Location(field="options.image"),
        )


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one pool with their defaults."""

    given: Mapping[str, Any]
    pool: str
    namespace: str
    image: str
    server: str
    service_token: str
    store: str

    @classmethod
    def of(cls, place: Place) -> Options:
        """Raises InvalidSpec. The namespace of the context is read from the kubeconfig."""
        check(place.options)
        from tradewind.engines.kubernetes.connect import where

        given = place.options
        return cls(
            given=given,
            pool=place.name,
            namespace=str(given.get("namespace") or where(given).namespace),
            image=str(
                given.get("image")
                or os.environ.get("TRADEWIND_IMAGE")
                or f"tradewind:{__version__}"
            ),
            server=str(given.get("server") or place.url).rstrip("/"),
            service_token=_service_token(place),
            store=place.desk.store,
        )

    @property
    def rack(self) -> str:
        """The label that tells the rack of a machine, or nothing."""
        return str(self.given.get("rack") or "")

    def context(self, token: str) -> Context:
        """What a placement is rendered with."""
        return Context(
            pool=self.pool,
            namespace=self.namespace,
            image=self.image,
            server=self.server,
            token=token,
            service_token=self.service_token,
            store=self.store,
            pull_secret=str(self.given.get("pull_secret") or ""),
            service_account=str(self.given.get("service_account") or ""),
            rack=self.rack,
        )


def _service_token(place: Place) -> str:
    """The secret between this server and its replicas (`control.services`)."""
    path = place.data / "service-token"
    return path.read_text("ascii").strip() if path.exists() else ""
