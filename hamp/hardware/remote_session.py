"""What runs on a remote device: time the ONNX files beside this package, and print the result as JSON.

Started by `hamp.hardware.devices.remote` as module `hamp.hardware.remote_session PLAN.json`, with nothing but
this file, `machine`, `timing`, `sessions` and the ONNX files there. It needs Python 3.8 and ONNX Runtime.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from hamp.hardware import machine, timing


def main(plan: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The fingerprint of this machine and, where the plan names networks, their times (`timing.play`)."""
    import onnxruntime

    from hamp.hardware import sessions

    provider, threads = plan["provider"], plan["threads"]
    facts = {**machine.processor(), "onnxruntime": onnxruntime.__version__, "provider": provider}
    if provider == "cpu":
        facts["threads"] = str(threads)
    sessions.require(provider)
    if not plan["networks"]:
        return {"fingerprint": facts}
    runs = {
        name: sessions.runner((folder / file).read_bytes(), provider, threads, plan["half"])
        for name, file in plan["networks"].items()
    }
    return {**timing.play(runs, **plan["play"]), "fingerprint": facts}


if __name__ == "__main__":
    where = Path(sys.argv[1])
    try:
        answer = main(json.loads(where.read_text()), where.parent)
    except ImportError as error:
        answer = {"error": f"Python there ({sys.executable}) lacks the package {error.name}: {error}; install it"}
    except RuntimeError as error:
        answer = {"error": str(error)}
    print("\n" + json.dumps(answer))  # on a line of its own, whatever the shell said before
