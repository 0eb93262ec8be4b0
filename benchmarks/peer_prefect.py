"""What Prefect does with the same work, with a server of its own (SQLite), as `prefect server
start` gives it. Runs in Prefect's own environment: `peer_prefect.py WHAT [amounts]`.

Task runs share the flow's process, in threads; a flow run as a process is `python` with a flow.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import Any


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def say(answer):
    print("BENCH " + json.dumps(answer), flush=True)


def timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@contextmanager
def server():
    """A server on a free port; yields the seconds until it answered."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    os.environ["PREFECT_API_URL"] = url
    prefect = os.path.join(os.path.dirname(sys.executable), "prefect")
    start = time.perf_counter()
    process = subprocess.Popen(
        [prefect, "server", "start", "--port", str(port), "--no-ui"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                urllib.request.urlopen(url + "/health", timeout=2).read()
                break
            except OSError:
                if process.poll() is not None:
                    raise RuntimeError("the server ended at once") from None
                time.sleep(0.02)
        yield time.perf_counter() - start
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()


def startup():
    with server() as seconds:
        say({"seconds": seconds})
        sys.stdin.read()


def as_process(code):
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


NOOP = "from prefect import flow\n@flow\ndef noop(): pass\nnoop()"


def runs(count, process_count):
    with server():
        from prefect import flow, task
        from prefect.task_runners import ThreadPoolTaskRunner

        @task
        def noop():
            return None

        @flow
        def one():
            return None

        @flow(task_runner=ThreadPoolTaskRunner(max_workers=8))
        def many(amount):
            for future in [noop.submit() for _ in range(amount)]:
                future.result()

        one()
        many(5)
        as_process(NOOP)
        say(
            {
                "one_flow": [timed(one) for _ in range(15)],
                "one_process": [timed(lambda: as_process(NOOP)) for _ in range(process_count)],
                "tasks": [timed(lambda: many(count)) for _ in range(2)],
            }
        )


def steps(repeats):
    with server():
        from prefect import flow, task

        @task
        def step(n, before=None):
            return fib(n)

        @flow
        def chain(n, length):
            before = None
            for _ in range(length):
                before = step(n, before)

        code = (
            "from prefect import flow\n"
            "def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\n"
            "@flow\ndef step(n: int): fib(n)\nstep(%d)"
        )
        chain(10, 3)
        answer: dict[str, Any] = {"pure": [], "tasks": [], "small_tasks": []}
        for _ in range(repeats):
            answer["pure"].append(timed(lambda: [fib(33) for _ in range(10)]))
            answer["tasks"].append(timed(lambda: chain(33, 10)))
            answer["small_tasks"].append(timed(lambda: chain(10, 40)))
        as_process(code % 10)
        answer["processes"] = timed(lambda: [as_process(code % 33) for _ in range(10)])
        say(answer)


def logs(lines, pause):
    """A flow logs lines; another thread asks the API for them 20 times a second."""
    with server():
        from prefect import flow, get_run_logger

        known = []

        @flow
        def talk():
            from prefect.runtime import flow_run

            known.append(flow_run.id)
            logger = get_run_logger()
            for _ in range(lines):
                logger.error("LINE %d", time.time_ns())
                time.sleep(pause)
            time.sleep(6)

        thread = threading.Thread(target=talk)
        thread.start()
        delays: dict[int, float] = {}
        while len(delays) < lines and (thread.is_alive() or not delays):
            time.sleep(0.05)
            if not known:
                continue
            body = {"logs": {"flow_run_id": {"any_": [str(known[0])]}}, "limit": 200}
            request = urllib.request.Request(
                os.environ["PREFECT_API_URL"] + "/logs/filter",
                json.dumps(body).encode(),
                {"Content-Type": "application/json"},
            )
            found = json.load(urllib.request.urlopen(request))
            now = time.time_ns()
            for each in found:
                if each["message"].startswith("LINE "):
                    stamp = int(each["message"].split()[1])
                    delays.setdefault(stamp, (now - stamp) / 1e9)
        thread.join()
        say({"delays": list(delays.values())})


def listing(count, repeats):
    """The list of flow runs among `count` of them, and one of them."""
    with server():
        url = os.environ["PREFECT_API_URL"]

        def post(path, body):
            request = urllib.request.Request(
                url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
            while True:  # it says 503 when SQLite was busy
                try:
                    return json.load(urllib.request.urlopen(request))
                except urllib.error.HTTPError as error:
                    if error.code != 503:
                        raise
                    time.sleep(0.05)

        flow = post("/flows/", {"name": "noop"})["id"]
        for i in range(count):
            kind = "COMPLETED" if i % 5 else "FAILED"
            last = post("/flow_runs/", {"flow_id": flow, "state": {"type": kind}})["id"]
        page = {"limit": 50, "sort": "START_TIME_DESC"}
        failed = {**page, "flow_runs": {"state": {"type": {"any_": ["FAILED"]}}}}
        get = url + "/flow_runs/" + last
        prefect = os.path.join(os.path.dirname(sys.executable), "prefect")
        list_ = [prefect, "flow-run", "ls", "--limit", "50"]
        for _ in range(5):
            post("/flow_runs/filter", page)
        say(
            {
                "page": [timed(lambda: post("/flow_runs/filter", page)) for _ in range(repeats)],
                "failed": [
                    timed(lambda: post("/flow_runs/filter", failed)) for _ in range(repeats)
                ],
                "one": [timed(lambda: urllib.request.urlopen(get).read()) for _ in range(repeats)],
                "command": [
                    timed(lambda: subprocess.run(list_, check=True, stdout=subprocess.DEVNULL))
                    for _ in range(4)
                ][1:],
            }
        )


if __name__ == "__main__":
    what, *amounts = sys.argv[1:]
    globals()[what](*(float(each) if "." in each else int(each) for each in amounts))
