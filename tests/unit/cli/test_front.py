"""The front: help, unknown verbs, statuses, and how little it loads."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Tw
from tests.unit.sdk.fake import Fake
from tradewind.base import errors
from tradewind.cli.parsing import parser_of
from tradewind.cli.table import VERBS
from tradewind.cli.verb import load

ROOT = Path(__file__).resolve().parents[3]


def test_help_lists_every_verb(tw: Tw) -> None:
    for words in ((), ("--help",), ("-h",), ("help",)):
        said = tw(*words)
        assert said.status == 0
        assert all(re.search(rf"^  {verb} ", said.out, re.MULTILINE) for verb in VERBS)
    assert "Usage: tw" in said.out
    assert tw("--version").out.startswith("tradewind ")


def test_help_loads_no_verb_and_no_library() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r})\n"
        "from tradewind.cli import main; main(['--help'])\n"
        "loaded = {m.partition('.')[0] for m in sys.modules} - set(sys.stdlib_module_names)\n"
        "print(*sorted(loaded - {'__main__'}), 'argparse' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True)
    assert done.stderr.split() == ["tradewind", "False"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(tw: Tw, verb: str) -> None:
    said = tw(verb, "--help")
    assert said.status == 0
    assert "-o" in said.out and "json" in said.out
    assert tw("help", verb).out == said.out


def test_the_nearest_verb_is_named(tw: Tw) -> None:
    said = tw("stpo")
    assert said.status == 2
    assert said.err == "error: there is no verb 'stpo'\n  did you mean `tw stop` or `tw top`?\n"
    assert "tw --help" in tw("xyzzy").err


def test_a_wrong_command_line_is_the_users(tw: Tw) -> None:
    said = tw("logs")
    assert said.status == 2
    assert "tw logs --help" in said.err
    said = tw("run", "x.py", "--performence", "1h", "-o", "json")
    assert json.loads(said.out)["error"]["code"] == "user_error"
    assert said.err == ""
    assert "did you mean --performance?" in tw("run", "x.py", "--performence", "1h").err
    assert "behind --" in tw("run", "x.py", "--lr", "1").err


@pytest.mark.parametrize(
    ("error", "status"),
    [(errors.NotFound, 2), (errors.Unauthenticated, 3), (errors.TryAgain, 4),
     (errors.Broken, 5), (errors.Bug, 70)],
)  # fmt: skip
def test_the_status_says_who_must_act(
    tw: Tw, fake: Fake, error: type[errors.TradewindError], status: int
) -> None:
    fake.fail_next = [error("what", hint="how", after=99.0)]
    said = tw("get", "pools")
    assert (said.status, said.err) == (status, "error: what\n  how\n")
    fake.fail_next = [error("what", hint="how", after=99.0)]
    said = tw("get", "pools", "-o", "json")
    assert said.status == status
    assert json.loads(said.out)["error"]["hint"] == "how"


def test_an_unforeseen_error_is_our_bug(
    tw: Tw, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "client", lambda: 1 / 0)
    said = tw("get", "pools")
    assert said.status == 70
    assert "ZeroDivisionError" in said.err and "report" in said.err


def test_an_interrupt_is_130(tw: Tw, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fake, "client", interrupt)
    assert tw("get", "pools").status == 130


def test_the_page_names_every_verb_and_option() -> None:
    page = (ROOT / "docs/cli.md").read_text()
    for verb in VERBS:
        section = re.search(rf"^### tw {verb}\n(.*?)(?=^##)", page + "\n##", re.M | re.S)
        assert section is not None, f"docs/cli.md has no section on {verb}"
        parser = parser_of(verb, load(verb))
        for action in parser._actions:
            for name in action.option_strings:
                if name.startswith("--") and name not in {"--help", "--format"}:
                    shared = "target" in {each.dest for each in parser._actions}
                    assert name in (page if shared else section[1]), f"{verb} {name}"
