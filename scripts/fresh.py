"""Run a make target as a newcomer would: a copy of the tree, an empty home, empty caches.

Usage: fresh.py TARGET. The copy holds what git tracks and what it does not ignore; on failure it
is kept, and its place is printed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Without these some machines cannot reach their package index at all; everything else of the
# caller's environment stays behind.
KEPT = {"PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"}
KEPT |= {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}
KEPT |= {"PIP_CERT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_DEFAULT_TIMEOUT"}
KEPT |= {"UV_DEFAULT_INDEX", "UV_INDEX", "UV_HTTP_TIMEOUT"}


def main(target: str) -> int:
    # A short name: a Unix socket's path holds about a hundred letters, and tests make sockets.
    top = Path(tempfile.mkdtemp(prefix="tw-"))
    tree, home, tmp = top / "tree", top / "home", top / "t"
    for folder in (tree, home, tmp):
        folder.mkdir()
    copy(tree)
    env = {name: value for name, value in os.environ.items() if name in KEPT}
    env |= {"HOME": str(home), "TMPDIR": str(tmp)}
    env |= {"XDG_CACHE_HOME": str(top / "cache"), "XDG_CONFIG_HOME": str(home / ".config")}
    env |= {"UV_CACHE_DIR": str(top / "cache/uv"), "PIP_CACHE_DIR": str(top / "cache/pip")}
    began = time.monotonic()
    code = subprocess.run(["make", target], cwd=tree, env=env).returncode
    took = f"{time.monotonic() - began:.0f} s"
    if code:
        print(f"fresh: make {target} failed after {took}; the copy is kept in {top}")
        return 1
    shutil.rmtree(top, ignore_errors=True)
    print(f"fresh: make {target} passed in {took} on a copy, with an empty home and empty caches")
    return 0


def copy(tree: Path) -> None:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in filter(None, listing.stdout.split("\0")):
        source = ROOT / name
        # A tracked file that was deleted by hand is listed all the same.
        if source.is_symlink() or source.exists():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, tree / name, follow_symlinks=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
