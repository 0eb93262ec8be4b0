"""Completion of verbs, options, runs and names.

bash   eval "$(tw completion bash)"
zsh    eval "$(tw completion zsh)"
fish   tw completion fish | source
"""

from __future__ import annotations

import argparse

from tradewind.cli.show import Out

# Each script hands over the words so far and shows what comes back; where nothing does, files.
_BASH = """\
_tw() {
  local IFS=$'\\n'
  COMPREPLY=($(tw completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -o bashdefault -F _tw tw tradewind
"""
_ZSH = """\
#compdef tw tradewind
_tw() {
  local -a found
  found=("${(@f)$(tw completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "$found" ]]; then compadd -- $found; else _files; fi
}
compdef _tw tw tradewind
"""
_FISH = """\
function __tw
    set -l words (commandline -opc) (commandline -ct)
    tw completion words -- $words[2..-1] 2>/dev/null
end
complete -c tw -f -a '(__tw)'
complete -c tradewind -f -a '(__tw)'
complete -c tw -n 'test -z "(__tw)"' -F
"""
_SHELLS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("shell", choices=(*_SHELLS, "words"), help="words: what the scripts ask")


def main(args: argparse.Namespace, out: Out) -> None:
    """The script of a shell, or what may stand next."""
    if args.shell != "words":
        out.line(_SHELLS[args.shell].rstrip())
        return
    from tradewind.cli import completing

    for word in completing.candidates(list(args.rest or [""])):
        out.line(word)
