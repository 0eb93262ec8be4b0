"""From what a person names to a document ready to send: a file of specs, a Python file with
decorated functions, a plain script, or a stored spec."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.base.errors import Location, NotFound, TradewindError, UserError
from tradewind.sdk import binding, bundle, code, parameters, places, submit
from tradewind.sdk.decorators import Decorated
from tradewind.sdk.references import dataset

if TYPE_CHECKING:
    from tradewind.sdk.client import Client

Json = dict[str, Any]
At = tuple[str | int, ...]

SPEC_SUFFIXES = (".yaml", ".yml", ".tw", ".json")
KINDS = (
    "dataset", "function", "training", "pipeline", "model", "service", "project", "queue", "pool",
    "device",
)  # fmt: skip
RUNNABLE = ("function", "training", "pipeline", "service", "dataset")
_INLINE = ("function", "training", "service")


@dataclass(slots=True)
class Work:
    """One spec, and where its code is. `decorated` when it was made by a decorator, `file` that it
    was read from, and `where` in it a field stands."""

    document: Json
    folder: Path | None = None
    decorated: Decorated[..., Any] | None = None
    root: Path | None = None
    file: Path | None = None
    where: Callable[[At], Location | None] = lambda _: None
    siblings: list[Work] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(self.document["kind"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.document["name"])


def load(target: str, client: Client | None = None, root: str | None = None) -> list[Work]:
    """All specs of what is named: `FILE`, `FILE:NAME`, or `KIND/NAME` of a stored spec. A file is
    meant where one exists, and read whole: it is good, or every fault of it is told. Raises
    NotFound, InvalidSpec."""
    file, name = _split(target)
    path = Path(file)
    if not path.is_file():
        return [_stored(target, client)]
    if path.suffix.lower() in SPEC_SUFFIXES:
        works = _declared(path)
    elif path.suffix == ".py":
        works = _decorated(path) if decorates(path) else [script(path, (), root)]
    else:
        raise UserError(
            f"{file} is neither a spec nor a Python file",
            hint=f"a spec ends in {', '.join(SPEC_SUFFIXES)}, a script in .py",
        )
    if root is not None:
        for work in works:
            work.root = Path(root).absolute()
    return works if not name else [_named(works, name, file)]


def _split(target: str) -> tuple[str, str]:
    file, colon, name = target.rpartition(":")
    return (file, name) if colon and Path(file).is_file() else (target, "")


def _named(works: list[Work], name: str, file: str) -> Work:
    found = [work for work in works if name in (work.name, f"{work.kind}/{work.name}")]
    if not found:
        raise NotFound(f"{file} has no {name!r}", hint=f"it has: {listed(works)}")
    if len(found) > 1:
        raise UserError(f"{file} has several {name!r}", hint=f"name one: {listed(found)}")
    return found[0]


def choose(works: list[Work], target: str) -> Work:
    """The one to run: the only one that can be, or the only pipeline among them."""
    able = [work for work in works if work.kind in RUNNABLE]
    if len(able) == 1:
        return able[0]
    for wanted in (("pipeline",), ("function", "training", "service")):
        found = [work for work in able if work.kind in wanted]
        if len(found) == 1:
            return found[0]
    if not able:
        raise UserError(
            f"{target} declares nothing to run: {listed(works)}",
            hint=f"`tw apply {target}` stores it",
        )
    raise UserError(
        f"{target} declares several things to run",
        hint=f"name one, as in {target}:{able[0].name}; it has: {listed(able)}",
    )


def listed(works: Iterable[Work]) -> str:
    """Kinds and names, for a message."""
    return ", ".join(f"{work.kind}/{work.name}" for work in works)


def script(path: Path, args: Iterable[str] = (), root: str | None = None) -> Work:
    """A plain script: a training, without a line of a spec."""
    found = bundle.code_of(path, root)
    name = re.sub(r"[^\w-]+", "-", path.stem.lower()).strip("-") or "script"
    document: Json = {"kind": "training", "name": name, "entry": found.file}
    if args:
        document["args"] = list(args)
    return Work(document, folder=found.root, root=Path(root).absolute() if root else None)


# Stored specs and files of specs.


def _stored(target: str, client: Client | None) -> Work:
    kind, slash, name = target.partition("/")
    if kind not in KINDS or not slash or not name or "/" in name:
        raise NotFound(f"there is no file {target}", hint=_nearest_file(target))
    if client is None:
        raise UserError(f"{target} is a stored spec, and a file is needed here")
    name, _, revision = name.partition("@")
    found = client.specs.get(kind, name, int(revision) if revision.isdigit() else None)
    return Work(dict(found.get("spec") or found.get("document") or found))


def _nearest_file(target: str) -> str:
    path = Path(target)
    names: list[str] = []
    if path.parent.is_dir():
        names = [each.name for each in path.parent.iterdir() if each.is_file()]
    near = get_close_matches(path.name, names, 1)
    if near:
        return f"did you mean {path.parent / near[0]}?"
    return "give a file, or KIND/NAME of a stored spec such as function/clean"


def _declared(path: Path) -> list[Work]:
    from tradewind import specs
    from tradewind.specs.faults import together

    folder = path.absolute().parent
    works, faults = [], list[UserError]()
    for spec, written in specs.read_placed(path):
        document = specs.to_document(spec)
        where = partial(written.location, str(path))
        faults += _resolve_paths(document, folder, where)
        works.append(Work(document, folder, file=path, where=where))
    if faults:
        raise together(faults)
    for work in works:
        work.siblings = [other for other in works if other is not work]
    return works


def _resolve_paths(
    document: Json, folder: Path, where: Callable[[At], Location]
) -> list[UserError]:
    """Paths in a file of specs are taken from that file's folder. Gives what is not there."""
    faults: list[UserError] = []

    def resolved(value: Any, at: At, one: Callable[[str, Path], str]) -> Any:
        if isinstance(value, list):
            return [resolved(each, (*at, index), one) for index, each in enumerate(value)]
        try:
            return one(value, folder)
        except NotFound as error:
            error.where = where(at)
            faults.append(error)
            return value

    steps: list[tuple[At, Json]] = [
        (("steps", index), step) for index, step in enumerate(document.get("steps", ()))
    ]
    for above, holder in [((), document), *steps]:
        for name, value in (holder.get("input") or {}).items():
            holder["input"][name] = resolved(value, (*above, "input", name), _input)
    source = document.get("source")
    if document["kind"] == "dataset" and isinstance(source, dict):
        source["path"] = resolved(source["path"], ("source", "path"), _source)
    elif document["kind"] == "dataset" and source:
        document["source"] = resolved(source, ("source",), _source)
    return faults


def _input(text: str, folder: Path) -> str:
    return text if text.startswith("$") else binding.data_reference(text, folder)


def _source(text: str, folder: Path) -> str:
    return text if "://" in text else binding.local_path(text, folder)


# Python files with decorated functions.


def decorates(path: Path) -> bool:
    """Whether a Python file uses Tradewind's decorators, told from its text."""
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except SyntaxError as error:
        where = Location(str(path), error.lineno or 0, error.offset or 0)
        raise UserError(f"this is not Python: {error.msg}", where=where) from None
    except ValueError as error:
        raise UserError(f"{path} is not Python: {error}") from None
    names = set(_tradewind_names(tree))
    return any(
        _root_name(decorator) in names
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for decorator in node.decorator_list
    )


def _tradewind_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "tradewind":
                    yield alias.asname or "tradewind"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tradewind"):
            yield from (alias.asname or alias.name for alias in node.names)


def _root_name(node: ast.expr) -> str:
    while isinstance(node, ast.Call | ast.Attribute):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _decorated(path: Path) -> list[Work]:
    module = _imported(path)
    found = [value for value in vars(module).values() if isinstance(value, Decorated)]
    works = [Work(_shown(each), decorated=each) for each in dict.fromkeys(found)]
    if not works:
        raise UserError(f"{path} decorates no function at its top level")
    for work in works:
        work.siblings = [other for other in works if other is not work]
    return works


def _shown(decorated: Decorated[..., Any]) -> Json:
    """Enough to choose by; the whole document is made when it is sent."""
    return {"kind": decorated.kind, "name": decorated.name}


def _imported(path: Path) -> Any:
    """The module of a file, imported here under a name of its own."""
    folder = str(path.absolute().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = path.stem if path.stem.isidentifier() and path.stem not in sys.modules else "tw_file"
    spec = importlib.util.spec_from_file_location(name, path.absolute())
    if spec is None or spec.loader is None:
        raise UserError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with places.told():
            spec.loader.exec_module(module)
    except TradewindError:
        raise
    except (Exception, SystemExit) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = Location(last.filename, last.lineno or 0)
        hint = (
            "to see its decorators it is imported here, so what it imports must be installed here"
        )
        if not isinstance(error, ImportError):
            hint = "what runs at its top level stands better under `if __name__ == '__main__':`"
        message = f"{path} cannot be imported: {type(error).__name__}: {error}"
        raise UserError(message, hint=hint, where=where) from error
    return module


# Ready to send.


def finish(client: Client, work: Work, changes: Json | None = None) -> Json:
    """The checked document with these fields changed, its code sent. Mappings are merged."""
    given = dict(changes or {})
    if work.decorated is not None:
        with places.told():  # the body of a pipeline is carried out
            return _finish_decorated(client, work, work.decorated, given)
    document = dict(work.document)
    for key, value in given.items():
        if isinstance(value, dict):
            document[key] = {**(document.get(key) or {}), **value}
        else:
            document[key] = value
    parameters.refuse_misnamed(document, work)
    if document["kind"] == "pipeline":
        document["steps"] = [
            _inlined(client, step, work, ("steps", index))
            for index, step in enumerate(document["steps"])
        ]
    return submit.checked(client, _with_code(client, document, work))


def _finish_decorated(
    client: Client, work: Work, decorated: Decorated[..., Any], given: Json
) -> Json:
    inputs, params = given.pop("input", {}), given.pop("params", {})
    if work.root is not None:
        decorated.root = work.root
    names = list(_parameters(decorated))
    bound: Json = dict(params)
    for name, ref in inputs.items():
        chosen = names[0] if name == "data" not in names and names else name
        bound[chosen] = Path(ref) if ref.startswith("/") else dataset(ref)
    return decorated.complete(client, bound, given)


def _parameters(decorated: Decorated[..., Any]) -> Iterable[str]:
    import inspect

    return inspect.signature(decorated.function).parameters


def _with_code(client: Client, document: Json, work: Work, at: At = ()) -> Json:
    """With the digest of its bundle, if it has an entry and its code is here. `at` is where it
    stands in the document of `work`."""
    folder = work.root or work.folder
    needs = "entry" in document or isinstance(document.get("dependencies"), str)
    if folder is None or not needs:
        return document
    return {**document, "bundle": client.blobs.put(_pack(document, folder, work, at).data)}


def _pack(document: Json, folder: Path, work: Work, at: At) -> bundle.Bundle:
    named = {"entry": str(document["entry"]).partition(":")[0]} if "entry" in document else {}
    if isinstance(document.get("dependencies"), str):
        named["dependencies"] = document["dependencies"]
    missing = [
        NotFound(
            f"{document['kind']} {document['name']}: there is no {folder / name}",
            where=work.where((*at, part)),
        )
        for part, name in named.items()
        if not (folder / name).is_file()
    ]
    if missing:
        from tradewind.specs.faults import together

        raise together(missing)
    only = bundle.only_of(folder, [folder / name for name in named.values()])
    apart = tuple(binding.needs_files(document))
    first = next(iter(named.values()))
    return code.pack_code(bundle.Code(folder, first, only, apart), bundle.LIMIT)


def _inlined(client: Client, step: Json, work: Work, at: At) -> Json:
    """A step that names a spec of the same file carries it along: nothing need be applied first."""
    uses = step.get("uses")
    if isinstance(uses, dict):
        return {**step, "uses": _with_code(client, uses, work, (*at, "uses"))}
    for other in work.siblings:
        if uses == f"{other.kind}/{other.name}" and other.kind in _INLINE:
            return {**step, "uses": _with_code(client, other.document, other)}
    return step


def imports(work: Work) -> list[Work]:
    """The datasets of the same file that this spec reads, to be imported before it."""
    read: set[str] = set()
    for holder in (work.document, *work.document.get("steps", ())):
        for value in (holder.get("input") or {}).values():
            read.update(str(each) for each in (value if isinstance(value, list) else [value]))
    return [
        other
        for other in work.siblings
        if other.kind == "dataset" and other.name in read and other.document.get("source")
    ]
