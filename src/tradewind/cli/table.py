"""The verbs, in the order in which one meets them: name → (module, one line of help).

This is all that `tw --help` reads.
"""

from __future__ import annotations

GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "Run something": {
        "run": ("run", "run a spec, a stored spec or any Python script, once"),
        "quote": ("quote", "what it would cost and take, with an id to hold us to"),
        "plan": ("plan", "where and how it would be carried out, and why"),
        "promises": ("promises", "how often quotes were right"),
        "render": ("render", "the native requests that would be sent"),
        "bundle": ("bundle", "which files would travel, which not, and why"),
    },
    "Watch and steer runs": {
        "get": ("get", "list runs, datasets, models, services, pools, specs"),
        "describe": ("describe", "all about one of them: time, price, reasons"),
        "cost": ("cost", "dollars in the margin of a run's own code"),
        "bill": ("bill", "what the pools cost, and who pays for it"),
        "logs": ("logs", "what a run said (-f to follow)"),
        "exec": ("exec", "run a command beside a running unit"),
        "attach": ("attach", "follow a run as `tw run` does"),
        "wait": ("wait", "wait for runs to end"),
        "approve": ("approve", "let runs go on that cost more than their value"),
        "stop": ("stop", "stop runs"),
        "delete": ("delete", "delete ended runs or stored specs"),
        "events": ("events", "what happened, and what happens (-f)"),
        "top": ("top", "what runs use now"),
        "why": ("why", "what a run waits for, when it starts, what would start it now"),
        "whatif": ("whatif", "whether a run would start now if it asked for something else"),
        "queue": ("queue", "queues: who may use how much, who uses it, who waits"),
    },
    "Keep specs": {
        "apply": ("apply", "store specs and make them true"),
        "diff": ("diff", "what apply would change"),
        "schema": ("schema", "the JSON Schema of specs, for editors"),
    },
    "The platform": {
        "up": ("up", "start the local server"),
        "down": ("down", "stop the local server"),
        "status": ("status", "how the server is"),
        "open": ("open", "open the console in the browser, signed in"),
        "doctor": ("doctor", "check this machine and say what to mend"),
        "catalog": ("catalog", "what machines cost in clouds; import other prices"),
        "simulate": ("simulate", "what a policy makes of a trace, in virtual time"),
        "prune": ("prune", "free what nothing needs"),
        "completion": ("completion", "completion for bash, zsh or fish"),
    },
}

VERBS: dict[str, tuple[str, str]] = {
    name: entry for group in GROUPS.values() for name, entry in group.items()
}

# What `tw get` lists beside the specs of one kind.
NOUNS = ("runs", "datasets", "models", "services", "pools", "specs")
