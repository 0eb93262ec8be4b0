"""Pods made from a template."""

import copy

from tests.kube.double.objects import Object, name_of, namespace_of, uid_of


def pod(owner: Object, prefix: str) -> Object:
    """Returns a pod of the owner's template, to be named by the prefix."""
    template = copy.deepcopy(owner["spec"]["template"])
    metadata = {
        "generateName": prefix, "namespace": namespace_of(owner),
        "labels": dict(template["metadata"].get("labels") or {}),
        "annotations": dict(template["metadata"].get("annotations") or {}),
        "ownerReferences": [{
            "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": name_of(owner),
            "uid": uid_of(owner), "controller": True, "blockOwnerDeletion": True,
        }],
    }  # fmt: skip
    if finalizers := template["metadata"].get("finalizers"):
        metadata["finalizers"] = list(finalizers)
    kept = {key: value for key, value in metadata.items() if value}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": kept, "spec": template["spec"]}
