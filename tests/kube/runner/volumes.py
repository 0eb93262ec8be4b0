"""A pod's volumes as folders of this machine."""

import os
import shutil
from pathlib import Path
from typing import Any

from tests.kube.runner import spec
from tests.kube.runner.launch import mapped
from tests.kube.runner.process import Mount
from tests.kube.runner.rest import Api, Refused

Json = dict[str, Any]


class NotYet(Exception):
    """A volume cannot be set up now; the pod stays as it is and it is tried again."""


class Volumes:
    """Made once per pod, kept while it lives."""

    def __init__(self, pod: Json, folder: Path, facts: spec.Facts, api: Api, lookup: spec.Lookup):
        self._pod, self._folder, self._facts = pod, folder, facts
        self._api, self._lookup = api, lookup
        self._sources: dict[str, Path] = {}

    async def make(self) -> None:
        """All of them; `NotYet` when something that one names is missing."""
        for volume in self._pod["spec"].get("volumes") or []:
            if volume["name"] not in self._sources:
                self._sources[volume["name"]] = await self._make(volume)

    def mounts(self, container: Json) -> list[Mount]:
        return [
            Mount(
                source=str(self._source(mount)),
                target=mount["mountPath"],
                read_only=bool(mount.get("readOnly")),
            )
            for mount in container.get("volumeMounts") or []
        ]

    def _source(self, mount: Json) -> Path:
        path = self._sources[mount["name"]] / str(mount.get("subPath") or "")
        if not path.exists():
            self._folder_at(path)
        return path

    async def _make(self, volume: Json) -> Path:
        if host := volume.get("hostPath"):
            return Path(str(host["path"]))
        path = self._folder / str(volume["name"])
        self._folder_at(path)
        if "emptyDir" in volume:
            return path
        for kind in ("secret", "configMap", "downwardAPI", "projected"):
            if kind in volume:
                source = volume[kind] or {}
                await self._fill(path, kind, source, int(source.get("defaultMode", 0o644)))
                return path
        raise NotYet(f"volume {volume['name']}: of a kind that is not supported here")

    def _folder_at(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
        group = (self._pod["spec"].get("securityContext") or {}).get("fsGroup")
        if group is not None and mapped(group):
            os.chown(path, -1, group)
            path.chmod(0o2777)

    async def _fill(self, path: Path, kind: str, source: Json, mode: int) -> None:
        if kind == "projected":
            for part in source.get("sources") or []:
                for inner, value in part.items():
                    await self._fill(path, inner, value, mode)
        elif kind == "serviceAccountToken":
            self._put(path / source["path"], await self._token(source), mode)
        elif kind == "downwardAPI":
            for item in source.get("items") or []:
                text = self._downward(item)
                self._put(path / item["path"], text.encode(), int(item.get("mode", mode)))
        else:
            await self._copy(path, kind, source, mode)

    async def _copy(self, path: Path, kind: str, source: Json, mode: int) -> None:
        name = source.get("secretName") or source.get("name") or ""
        plural = {"secret": "secrets", "configMap": "configmaps"}[kind]
        data = await self._lookup(plural, name)
        if data is None:
            if not source.get("optional"):
                raise NotYet(f'{spec.KINDS[plural]} "{name}" not found')
            data = {}
        items = source.get("items") or [{"key": key, "path": key} for key in data]
        for item in items:
            if item["key"] in data:
                self._put(path / item["path"], data[item["key"]], int(item.get("mode", mode)))
            elif not source.get("optional"):
                raise NotYet(f"references non-existent secret key: {item['key']}")

    def _downward(self, item: Json) -> str:
        if ref := item.get("fieldRef"):
            return spec.field(self._pod, ref["fieldPath"], self._facts)
        return spec.resource(self._pod, {}, item["resourceFieldRef"], self._facts)

    async def _token(self, source: Json) -> bytes:
        meta = self._pod["metadata"]
        account = self._pod["spec"].get("serviceAccountName", "default")
        path = f"/api/v1/namespaces/{meta['namespace']}/serviceaccounts/{account}/token"
        bound = {"kind": "Pod", "apiVersion": "v1", "name": meta["name"], "uid": meta["uid"]}
        wanted: Json = {"expirationSeconds": source.get("expirationSeconds", 3600)}
        wanted["boundObjectRef"] = bound
        wanted["audiences"] = [source["audience"]] if source.get("audience") else []
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
        try:
            answer = await self._api.surely("POST", path, request | {"spec": wanted})
        except Refused as refused:
            raise NotYet(f"failed to fetch token: {refused}") from None
        return str(answer["status"]["token"]).encode()

    def _put(self, path: Path, data: bytes, mode: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)

    def drop(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
