"""The rule of choice: what it promises, and that the page's script keeps to it."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamp.choice import OBJECTIVES, PREFERENCES, choose

SCRIPT = Path(__file__).parents[2] / "hamp" / "report" / "page" / "choice.js"

number = st.integers(1, 6).map(float)
network = st.fixed_dictionaries(
    {"error_validation": number, "latency_ms": number, "memory_bytes": st.integers(1, 6), "latency_iqr_ms": number}
)
limits = st.dictionaries(st.sampled_from(OBJECTIVES), st.floats(0, 7))


@st.composite
def fronts(draw):
    rows = draw(st.lists(network, min_size=1, max_size=8))
    return [{**row, "candidate": f"{index:03x}"} for index, row in enumerate(rows)]


@given(fronts(), limits, st.sampled_from(PREFERENCES))
def test_what_is_chosen_is_within_the_limits_where_anything_is(front, limits, prefer):
    fitting = [row for row in front if all(row[name] <= limit for name, limit in limits.items())]
    choice = choose(front, limits, prefer)
    assert choice.fits == bool(fitting)
    assert choice.allowed == len(fitting)
    if fitting:
        assert choice.network in fitting
    else:
        over = {name: choice.network[name] - limit for name, limit in limits.items()}
        assert choice.excess == {name: value for name, value in over.items() if value > 0} != {}


@given(fronts(), limits)
def test_preferences_are_kept(front, limits):
    fitting = [row for row in front if all(row[name] <= limit for name, limit in limits.items())]
    if not fitting:
        return
    by_accuracy = choose(front, limits, "accuracy").network
    assert by_accuracy["error_validation"] == min(row["error_validation"] for row in fitting)
    assert choose(front, limits, "memory").network["memory_bytes"] == min(row["memory_bytes"] for row in fitting)
    fast = choose(front, limits, "latency").network
    least = min(row["latency_ms"] for row in fitting)
    noise = max(row["latency_iqr_ms"] for row in fitting)
    assert fast["latency_ms"] - least <= (fast["latency_iqr_ms"] + noise) / 2


def test_the_knee_is_the_network_that_is_good_in_everything():
    rows = [(0.0, 9.0, 9), (9.0, 0.0, 9), (9.0, 9.0, 0), (2.0, 2.0, 2)]
    front = [
        {"candidate": str(n), "latency_iqr_ms": 0.0, **dict(zip(OBJECTIVES, row, strict=True))}
        for n, row in enumerate(rows)
    ]
    assert choose(front, {}, "knee").network["candidate"] == "3"
    assert choose(front, {"latency_ms": 1.0}, "knee").network["candidate"] == "1"


def test_a_difference_within_the_noise_is_a_tie_for_the_fastest():
    fast = {"candidate": "a", "error_validation": 0.5, "latency_ms": 1.0, "latency_iqr_ms": 0.2, "memory_bytes": 1}
    good = {**fast, "candidate": "b", "error_validation": 0.1, "latency_ms": 1.19}
    assert choose([fast, good], {}, "latency").network is good
    assert choose([fast, {**good, "latency_ms": 1.3}], {}, "latency").network is fast


def cases(count=200):
    """Random fronts, limits and preferences, as they come from a run: doubles of all sizes, some equal."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        n = int(rng.integers(1, 30))
        front = [
            {
                "candidate": f"{int(rng.integers(2**40)):012x}",
                "error_validation": float(rng.choice([rng.random(), round(rng.random(), 1)])),
                "latency_ms": float(10 * rng.random()),
                "latency_iqr_ms": float(rng.random()),
                "memory_bytes": int(rng.integers(1, 10**7)),
            }
            for _ in range(n)
        ]
        some = [name for name in OBJECTIVES if rng.random() < 0.6]
        limits = {name: front[0][name] * float(rng.uniform(0.2, 2)) for name in some}
        found.append({"front": front, "limits": limits, "prefer": str(rng.choice(PREFERENCES))})
    return found


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_the_page_and_the_command_choose_alike():
    wanted = [choose(case["front"], case["limits"], case["prefer"]) for case in cases()]
    program = f"{SCRIPT.read_text()}\nconst cases = JSON.parse(require('fs').readFileSync(0));\n"
    program += "console.log(JSON.stringify(cases.map((c) => choose(c.front, c.limits, c.prefer))));"
    answer = subprocess.run(
        ["node", "-e", program], input=json.dumps(cases()), capture_output=True, text=True, check=True
    )
    found = json.loads(answer.stdout)
    assert any(not choice.fits for choice in wanted)
    for choice, other in zip(wanted, found, strict=True):
        assert other == {
            "network": choice.network,
            "fits": choice.fits,
            "allowed": choice.allowed,
            "excess": choice.excess,
        }
