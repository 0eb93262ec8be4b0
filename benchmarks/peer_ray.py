"""What Ray does with the same work. Runs in Ray's own environment: `peer_ray.py WHAT [amounts]`.

A *plain* task reuses a worker process, as Ray does by default; a *fresh* one (`max_calls=1`) ends
its worker, so that each has a process of its own. Nothing here survives the death of the driver.
"""

import io
import json
import os
import sys
import time

import ray


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def step(n, _before=None):
    return fib(n)


def noop():
    return os.getpid()


def say(answer):
    print("BENCH " + json.dumps(answer), flush=True)


def begin():
    ray.init(
        num_cpus=2,
        object_store_memory=80 * 2**20,
        include_dashboard=False,
        logging_level="ERROR",
        _temp_dir=os.environ["BENCH_FOLDER"],
    )


def timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def variants(function, cpus):
    """Eight of the small ones fit on two cores, as with Tradewind."""
    return (
        ray.remote(num_cpus=cpus)(function),
        ray.remote(num_cpus=cpus, max_calls=1)(function),
    )


def startup():
    seconds = timed(begin)
    plain, _ = variants(noop, 0.25)
    ray.get(plain.remote())
    say({"seconds": seconds})
    sys.stdin.read()


def runs(count, fresh_count):
    begin()
    plain, fresh = variants(noop, 0.25)
    ray.get([plain.remote() for _ in range(200)])
    ray.get([fresh.remote() for _ in range(4)])
    answer: dict[str, object] = {
        "one_plain": [timed(lambda: ray.get(plain.remote())) for _ in range(50)],
        "one_fresh": [timed(lambda: ray.get(fresh.remote())) for _ in range(12)],
        "plain": [timed(lambda: ray.get([plain.remote() for _ in range(count)])) for _ in range(3)],
    }
    pids: list[int] = []
    answer["fresh"] = timed(
        lambda: pids.extend(ray.get([fresh.remote() for _ in range(fresh_count)]))
    )
    answer["processes"] = len(set(pids))
    say(answer)


def chain(task, amount, length):
    before = None
    for _ in range(length):
        before = task.remote(amount, before)
    return ray.get(before)


def steps(repeats):
    begin()
    plain, fresh = variants(step, 1)
    chain(plain, 10, 3)
    chain(fresh, 10, 3)
    answer: dict[str, list[float]] = {
        "pure": [],
        "plain": [],
        "fresh": [],
        "small_plain": [],
        "small_fresh": [],
    }
    for _ in range(repeats):
        answer["pure"].append(timed(lambda: [fib(33) for _ in range(10)]))
        answer["plain"].append(timed(lambda: chain(plain, 33, 10)))
        answer["fresh"].append(timed(lambda: chain(fresh, 33, 10)))
        answer["small_plain"].append(timed(lambda: chain(plain, 10, 40)))
        answer["small_fresh"].append(timed(lambda: chain(fresh, 10, 40)))
    say(answer)


def logs(lines, pause):
    """The driver prints what tasks print; a pipe in place of its output says when."""
    read, write = os.pipe()
    real = os.dup(1)
    os.dup2(write, 1)
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=True)

    def talk():
        for _ in range(lines):
            print("LINE", time.time_ns(), flush=True)
            time.sleep(pause)

    begin()
    task = ray.remote(num_cpus=0.25)(talk).remote()
    delays: list[float] = []
    rest = b""
    while len(delays) < lines:
        rest += os.read(read, 65536)
        now = time.time_ns()
        *whole, rest = rest.split(b"\n")
        for line in whole:
            if b"LINE " in line:
                delays.append((now - int(line.split(b"LINE ")[1])) / 1e9)
    ray.get(task)
    os.dup2(real, 1)
    say({"delays": delays})


if __name__ == "__main__":
    what, *amounts = sys.argv[1:]
    globals()[what](*(float(each) if "." in each else int(each) for each in amounts))
