"""What must hold when a campaign is over, read from the store, the ledger and the disk."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.chaos import load
from tests.chaos.campaign import Campaign, Kill
from tradewind.base.clock import SystemClock
from tradewind.records.runs import Run
from tradewind.records.states import ENDED, PlacementState, RunState
from tradewind.store import open as open_store
from tradewind.store.base import Store
from tradewind.store.rows import DatasetVersion, RunFilter

Line = dict[str, Any]


@dataclass(slots=True)
class Verdict:
    """Violations by sort, and figures that are no violations."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    runs: int = 0
    steps: int = 0
    placements: int = 0
    lost_placements: int = 0
    attempts: int = 0
    executions: int = 0
    repeated: int = 0
    overlaps: list[str] = field(default_factory=list)
    recoveries: dict[str, list[float]] = field(default_factory=dict)

    @property
    def violated(self) -> bool:
        """Whether anything was broken that was promised."""
        return bool(self.lost or self.doubled or self.wrong or self.left or self.overlaps)


def judge(campaign: Campaign) -> Verdict:
    """Look at everything. The server must have ended."""
    verdict = Verdict(wrong=list(campaign.faults))
    verdict.left = [f"{each.role} {each.pid}: {each.words[:120]}" for each in campaign.left]
    store = open_store(campaign.data / "tradewind.db", SystemClock())
    try:
        runs = _all_runs(store)
        ledger = _read(campaign.ledger)
        _trees(campaign, runs, verdict)
        _versions(campaign, store, runs, verdict)
        _placements(store, runs, verdict)
        _ledger(ledger, runs, verdict)
        _recoveries(campaign.kills, ledger, runs, verdict)
    finally:
        store.close()
    return verdict


def _all_runs(store: Store) -> dict[str, Run]:
    found: dict[str, Run] = {}
    cursor = ""
    while True:
        page = store.runs.page(RunFilter(), limit=1000, cursor=cursor)
        found |= store.runs.get_many([each.id for each in page.runs])
        cursor = page.cursor
        if not cursor:
            return found


def _read(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _trees(campaign: Campaign, runs: dict[str, Run], verdict: Verdict) -> None:
    """Every accepted run ended well, once, with exactly its steps."""
    submitted = {each.id: each for each in campaign.runs}
    children: dict[str, list[Run]] = defaultdict(list)
    for run in runs.values():
        children[run.parent].append(run)
    for top in children[""]:
        if top.id not in submitted:
            verdict.doubled.append(f"{top.id} ({top.key}) was submitted by nobody")
    verdict.runs, verdict.steps = len(submitted), len(runs) - len(children[""])
    for run_id, order in submitted.items():
        if run_id not in runs:
            verdict.lost.append(f"{run_id} was accepted and is not there")
            continue
        run = runs[run_id]
        _tree(run, children, verdict)
        got = load.values(run.result)
        if run.state is RunState.SUCCEEDED and got != load.expected(order.seed):
            verdict.wrong.append(f"{run_id}: {got} instead of {load.expected(order.seed)}")


def _tree(run: Run, children: dict[str, list[Run]], verdict: Verdict) -> None:
    if run.state not in ENDED:
        verdict.lost.append(f"{run.id} ({run.name}) is still {run.state}: {run.waiting}")
    elif run.state is not RunState.SUCCEEDED:
        verdict.lost.append(f"{run.id} ({run.name}) is {run.state}: {run.error}")
    if run.kind != "pipeline":
        return
    keys = Counter(child.key for child in children[run.id])
    wanted = load.KEYS if run.name == "outer" else load.INNER_KEYS
    verdict.doubled += [f"{run.id}: child {key} {count} times" for key, count in keys.items()
                        if count > 1]  # fmt: skip
    verdict.lost += [f"{run.id}: child {key} is missing" for key in wanted - keys.keys()]
    verdict.doubled += [f"{run.id}: child {key} is strange" for key in keys.keys() - wanted]
    for child in children[run.id]:
        _tree(child, children, verdict)


def _versions(campaign: Campaign, store: Store, runs: dict[str, Run], verdict: Verdict) -> None:
    """One version for each step that makes one, whole and with the right rows; none besides."""
    made: dict[str, list[DatasetVersion]] = defaultdict(list)
    for name in load.TABLES.values():
        versions = store.registry.dataset_versions("default", name)
        numbers = sorted(version.number for version in versions)
        if numbers != list(range(1, len(numbers) + 1)):
            verdict.wrong.append(f"the versions of {name} are not numbered one by one")
        for version in versions:
            made[version.run].append(version)
    for run in runs.values():
        found = made.pop(run.id, [])
        wanted = run.name in load.TABLES and run.state is RunState.SUCCEEDED
        if len(found) > wanted:
            verdict.doubled.append(f"{run.id} ({run.name}) published {len(found)} versions")
        elif len(found) < wanted:
            verdict.lost.append(f"{run.id} ({run.name}) published nothing")
        for version in found:
            _version(campaign, version, run, verdict)
    verdict.doubled += [f"a version of {run}, which is not there" for run in made]


def _version(campaign: Campaign, version: DatasetVersion, run: Run, verdict: Verdict) -> None:
    import pyarrow.parquet
    from deltalake import DeltaTable

    seed = next(each.seed for each in campaign.runs if each.id == run.root)
    wanted = load.column(version.name, seed)
    name = f"{version.name}@{version.number}"
    rows: list[int] = []
    for digest in version.files:
        text = digest.partition(":")[2]
        path = campaign.data / "blobs" / text[:2] / text[2:]
        data = path.read_bytes() if path.exists() else b""
        if hashlib.sha256(data).hexdigest() != text:
            verdict.wrong.append(f"{name}: blob {digest} is missing or damaged")
            return
        rows += pyarrow.parquet.read_table(path)["value"].to_pylist()
    if rows != wanted or version.rows != len(wanted):
        verdict.wrong.append(f"{name}: its rows are not those of {run.id}")
    uri = str(version.table_uri).removeprefix("file://")
    table = DeltaTable(uri, version=version.table_version)
    stored: list[int] = []
    for each in table.file_uris():
        file = Path(uri) / Path(each).name
        stored += pyarrow.parquet.read_table(file)["value"].to_pylist()
    if stored != wanted:
        verdict.wrong.append(f"{name}: version {version.table_version} of its table has other rows")


def _placements(store: Store, runs: dict[str, Run], verdict: Verdict) -> None:
    placements = store.placements.of(list(runs))
    for run in runs.values():
        each = placements[run.id]
        verdict.placements += len(each)
        verdict.lost_placements += sum(one.state is PlacementState.LOST for one in each)
        told = store.reports.all_attempts(run.id)
        verdict.attempts += len(told)
        fine = Counter(
            (one.role, one.index) for one, stale in told if one.state == "succeeded" and not stale
        )  # fmt: skip
        verdict.doubled += [
            f"{run.id} ({run.name}): {count} good attempts of {role} {index}"
            for (role, index), count in fine.items()
            if count > 1
        ]
        finished = run.state is RunState.SUCCEEDED and run.kind != "pipeline"
        if finished and not run.cached_from:
            units = load.ITEMS if run.name == "square" else 1
            if len(fine) != units:
                verdict.lost.append(
                    f"{run.id} ({run.name}): {len(fine)} of {units} units ended well"
                )
            if any(one.state not in {"succeeded", "failed", "lost", "stopped"} for one in each):
                verdict.wrong.append(f"{run.id} ended and a placement of it is open")
    if open_ones := store.placements.live():
        verdict.wrong.append(f"{len(open_ones)} placements are open: {open_ones[0].id}")


def _ledger(lines: list[Line], runs: dict[str, Run], verdict: Verdict) -> None:
    """How often user code ran. Twice is allowed after a death, twice at the same time is not."""
    units: dict[tuple[str, int], list[Line]] = defaultdict(list)
    for line in lines:
        if line["run"] in runs:
            units[line["run"], line["index"]].append(line)
    for (run, index), told in units.items():
        told.sort(key=lambda line: line["at"])
        starts = [line for line in told if line["event"] == "start"]
        verdict.executions += len(starts)
        verdict.repeated += sum(line["event"] == "end" for line in told) - 1 > 0
        for before, after in pairwise(starts):
            late = [
                line
                for line in told
                if line["event"] == "end" and line["pid"] == before["pid"]
                and line["placement"] == before["placement"] and line["at"] > after["at"]
            ]  # fmt: skip
            if late:
                verdict.overlaps.append(f"{run}/{index}: {before['placement']} ended after "
                                        f"{after['placement']} had begun")  # fmt: skip


def _recoveries(
    kills: list[Kill], lines: list[Line], runs: dict[str, Run], verdict: Verdict
) -> None:
    """From each kill to the next sign of life: of its run, or of any if it was nobody's."""
    by_run: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        by_run[line["run"]].append(line["at"])
    anywhere = sorted(line["at"] for line in lines if line["event"] == "start")
    for kill in kills:
        run = runs.get(kill.run)
        times = sorted([*by_run[kill.run], run.ended]) if run is not None else anywhere
        later = [at for at in times if at > kill.at]
        if later:
            verdict.recoveries.setdefault(kill.role, []).append(later[0] - kill.at)
