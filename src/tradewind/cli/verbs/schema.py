"""The JSON Schema of specs, for editors that complete and check YAML.

tw schema > specs.schema.json
tw schema function
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from tradewind.base.errors import NotFound
from tradewind.cli.show import Out
from tradewind.sdk.loading import KINDS


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("kind", nargs="?", default="", help=f"one of {', '.join(KINDS)}")


def main(args: argparse.Namespace, out: Out) -> None:
    """Print it; text is JSON too."""
    from tradewind import specs

    if args.kind and args.kind not in KINDS:
        from difflib import get_close_matches

        near = get_close_matches(args.kind, KINDS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"kinds: {', '.join(KINDS)}"
        raise NotFound(f"there is no kind {args.kind!r}", hint=hint)
    schema: dict[str, Any] = specs.json_schema()
    if args.kind:
        name = specs.KINDS[args.kind].__name__
        kept = {key: schema[key] for key in ("$schema", "$defs")}
        schema = {"$ref": f"#/$defs/{name}", **kept}
    out.line(json.dumps(schema, indent=2, ensure_ascii=False))
