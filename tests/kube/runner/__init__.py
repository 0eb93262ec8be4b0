"""A kubelet for tests: pods of a bare control plane run as processes of this machine.

    with Runner(kubeconfig, node="n1", cpu="8", backoff=(0.3, 2)) as runner:
        ...                       # the node is ready; pods that are bound to it run
        runner.kill_pod(name)     # a crash
        runner.freeze()           # the node is cut off, until runner.thaw()

or `python -m tests.kube.runner --kubeconfig FILE --node n1`, which prints a line when it is ready.

What differs from a real node: pods share the machine's network, so each has a loopback address of
its own and must listen on that (status.podIP); API servers refuse EndpointSlices with such
addresses; names come from a hosts file (names.py); images are names only, and every container sees
this machine's root under an overlay, with this interpreter's `python` first in its PATH. There are
no events, no sidecars, no lifecycle hooks; `exec` needs a WebSocket (real API servers turn v5 of
its protocol into SPDY, so ask for v4).
"""

from tests.kube.runner.home import Settings
from tests.kube.runner.runner import Runner

__all__ = ["Runner", "Settings"]
