"""The code as it was at a git revision, for `tw quote --against`: read, packed, never executed."""

from __future__ import annotations

import ast
import io
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.base.errors import InvalidSpec, NotFound, UserError
from tradewind.sdk import bundle, code

if TYPE_CHECKING:
    from tradewind.sdk.client import Client
    from tradewind.sdk.loading import Work

Json = dict[str, Any]
_SAID = ("style", "by", "on_error")
_PATIENCE = 120


class NoRevision(NotFound):
    """There is no such revision, or no repository."""


def earlier(client: Client, work: Work, document: Json, revision: str) -> Json:
    """The version of this function at a revision, as `quotes.ask` takes it: its spec as it was
    written there, with its code sent. `document` is the present one. Raises NoRevision, NotFound,
    UserError."""
    file = _file(work, document)
    top = Path(_git(file.parent, "rev-parse", "--show-toplevel"))
    commit = commit_of(file.parent, revision)
    root = _root(work, document, file)
    inside = root.resolve().relative_to(top.resolve()).as_posix()
    with tempfile.TemporaryDirectory(prefix="tw-revision-") as folder:
        there = Path(folder, "code")
        _unpack(top, commit, inside, there)
        there = there / inside
        old = _document(work, document, there / file.relative_to(root), revision)
        if "bundle" in document:
            named = str(old["entry"]).partition(":")[0]
            if not (there / named).is_file():
                raise NotFound(f"{named} is not in {revision}", hint="it is new since, or moved")
            packed = code.pack_code(bundle.Code(there, named), bundle.LIMIT)
            old["bundle"] = client.blobs.put(packed.data)
    return {"spec": old, "name": revision}


def commit_of(folder: Path, revision: str) -> str:
    """The commit that a revision means in the repository of a folder. Raises NoRevision."""
    if revision.startswith("-"):
        raise NoRevision(f"{revision!r} is no revision")
    try:
        return _git(folder, "rev-parse", "--verify", "--quiet", revision + "^{commit}")
    except _Failed:
        raise NoRevision(
            f"there is no revision {revision!r} in the repository of {folder}",
            hint="`git log` shows them: a commit, a branch, a tag, HEAD~1",
        ) from None


class _Failed(UserError):
    """Git ended with an error."""


def _git(folder: Path, *words: str) -> str:
    return _output(folder, *words).decode("utf-8", "replace").strip()


def _output(folder: Path, *words: str) -> bytes:
    command = ["git", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False)
    except FileNotFoundError:
        raise NoRevision("git is not installed, and a revision is read with it") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"git {words[0]} did not end within {_PATIENCE} s") from None
    if done.returncode and b"not a git repository" in done.stderr:
        raise NoRevision(
            f"{folder} lies in no git repository",
            hint="name an earlier run of it (tw get runs), or keep the code in git",
        )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise _Failed(f"git {words[0]}: {said or done.returncode}")
    return done.stdout


def _unpack(top: Path, commit: str, inside: str, target: Path) -> None:
    words = ("archive", "--format=tar", commit, *(() if inside == "." else ("--", inside)))
    try:
        data = _output(top, *words)
    except _Failed:
        raise NotFound(f"{inside} is not in {commit[:12]}", hint="it is new since") from None
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        tar.extractall(target, filter="data")


def _file(work: Work, document: Json) -> Path:
    """The file that declares it. Raises UserError where none does."""
    if work.decorated is not None:
        return Path(work.decorated.function.__code__.co_filename).absolute()
    if work.file is None:
        raise UserError(
            f"{document['kind']} {document['name']} is stored, and a revision is of a file",
            hint="name the file, or an earlier run of it",
        )
    return work.file.absolute()


def _root(work: Work, document: Json, file: Path) -> Path:
    """The folder that travels."""
    if work.root is not None:
        return work.root
    if work.decorated is None:
        return work.folder or file.parent
    inside = str(document["entry"]).partition(":")[0]
    return Path(str(file).removesuffix(inside))


def _document(work: Work, document: Json, file: Path, revision: str) -> Json:
    """The spec as the file at that revision has it."""
    if not file.is_file():
        raise NotFound(f"{file.name} is not in {revision}", hint="it is new since, or moved")
    if work.decorated is not None:
        kept = {key: value for key, value in document.items() if key not in _SAID}
        return {**kept, **_decoration(file, str(document["entry"]).rpartition(":")[2])}
    from tradewind import specs

    try:
        found = [specs.to_document(spec) for spec, _written in specs.read_placed(file)]
    except InvalidSpec as error:
        raise UserError(f"{file.name} at {revision}: {error.message}", hint=error.hint) from None
    for each in found:
        if (each["kind"], each["name"]) == (work.kind, work.name):
            given = {key: each[key] for key in ("params", "input") if key in each}
            return {**each, **{key: {**document.get(key, {}), **v} for key, v in given.items()}}
    raise NotFound(f"{file.name} has no {work.kind} {work.name} at {revision}")


def _decoration(file: Path, name: str) -> Json:
    """What its decorator says of how it is written, as far as it says it with literals."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return {}  # what is wrong is told by whoever imports it
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == name.rpartition(".")[2]:
            calls = [each for each in node.decorator_list if isinstance(each, ast.Call)]
            words = [word for call in calls for word in call.keywords]
            return {
                str(word.arg): ast.literal_eval(word.value)
                for word in words
                if word.arg in _SAID and isinstance(word.value, ast.Constant | ast.List)
            }
    return {}
