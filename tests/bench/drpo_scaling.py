"""Time and memory of a step's weights as a run grows: ours beside the authors' method.

    OMP_NUM_THREADS=1 python tests/bench/drpo_scaling.py [--seen 500 5000 50000 200000]

512 questions x 8 rollouts over 9 domains a step. Theirs is written here from its description
(`drpo_released` and its docstring): K-means for k = 1..10 over the whole history of every domain at
every step, and a linear search for each rollout's question. Both see the same rewards in one run.
Times are those that the process used, so that others on the machine count little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
from sklearn.cluster import KMeans

from climb_hf.trainers import DomainScaler
from climb_hf.trainers.drpo_clusters import elbow

QUESTIONS, ROLLOUTS, K_MAX = 512, 8, 10
SHARES = (0.30, 0.20, 0.15, 0.11, 0.09, 0.06, 0.04, 0.03, 0.02)
DOMAINS = [f"domain_{n}" for n in range(9)]
F1_VALUES = (0.0, 0.25, 1 / 3, 0.4, 0.5, 2 / 3, 0.8, 1.0)
Draw = Callable[[np.random.Generator, int], np.ndarray]


def binary(random: np.random.Generator, n: int) -> np.ndarray:
    return (random.random((n, ROLLOUTS)) < random.random((n, 1))).astype(float)


def f1_like(random: np.random.Generator, n: int) -> np.ndarray:
    return random.choice(F1_VALUES, size=(n, ROLLOUTS))


def continuous(random: np.random.Generator, n: int) -> np.ndarray:
    return random.random((n, ROLLOUTS))


KINDS: dict[str, Draw] = {"binary": binary, "F1-like": f1_like, "continuous": continuous}


def step(random: np.random.Generator, draw: Draw, n: int) -> tuple[np.ndarray, list[str]]:
    """Rewards and domains of n questions; each domain has one at least."""
    domains = random.choice(DOMAINS, size=n, p=SHARES).tolist()
    domains[: len(DOMAINS)] = DOMAINS
    return draw(random, n), domains


class Theirs:
    """The authors' method: everything is kept, and everything is clustered again at every step."""

    def __init__(self) -> None:
        self.vectors: dict[str, list[np.ndarray]] = {}
        self.ids: dict[str, list[str]] = {}
        self.steps = 0

    def observe(self, vectors: np.ndarray, domains: Sequence[str]) -> None:
        for row, (vector, domain) in enumerate(zip(vectors, domains, strict=True)):
            self.vectors.setdefault(domain, []).append(vector)
            self.ids.setdefault(domain, []).append(f"{self.steps}-{row}")
        self.steps += 1

    def weights(self, vectors: np.ndarray, domains: Sequence[str]) -> np.ndarray:
        found = {domain: self._clusters(np.array(own)) for domain, own in self.vectors.items()}
        weights = np.empty((len(domains), ROLLOUTS))
        for row, domain in enumerate(domains):
            labels, levels, base = found[domain]
            for rollout in range(ROLLOUTS):
                at = self.ids[domain].index(f"{self.steps - 1}-{row}")
                weights[row, rollout] = 1 / (base * levels[labels[at]])
        return weights[:, 0]

    @staticmethod
    def _clusters(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        def fit(k: int) -> KMeans:
            return KMeans(n_clusters=k, random_state=0, n_init="auto").fit(vectors)

        most = min(K_MAX, len(np.unique(vectors, axis=0)))
        chosen = fit(elbow([fit(k).inertia_ for k in range(1, most + 1)]))
        sizes, means = np.bincount(chosen.labels_), chosen.cluster_centers_.mean(axis=1)
        mean = (means / sizes).sum() / (1 / sizes).sum()
        return (
            chosen.labels_,
            np.maximum(np.sqrt(sizes) * means, 1e-6),
            max(np.sqrt(len(vectors)) * mean, 1e-6),
        )

    def size(self) -> int:
        vectors = sum(own.nbytes for known in self.vectors.values() for own in known)
        return vectors + sum(len(one) for known in self.ids.values() for one in known)


def ours_at(draw: Draw, seen: Sequence[int], repeats: int) -> list[tuple[float, int]]:
    """Median seconds of the step that reaches so many questions, and bytes of its state."""
    random = np.random.default_rng(0)
    scaler = DomainScaler()
    found = []
    for wanted in seen:
        fill(scaler, random, draw, wanted - scaler.memory.count)
        before, times = scaler.state_dict(), []
        for _ in range(repeats):
            scaler.load_state_dict(before)
            vectors, domains = step(random, draw, QUESTIONS)
            begin = time.process_time()
            scaler.step(vectors, domains)
            scaler.summary()
            times.append(time.process_time() - begin)
        found.append((statistics.median(times), len(json.dumps(scaler.state_dict()))))
    return found


def theirs_at(
    draw: Draw, seen: Sequence[int], repeats: int, budget_s: float
) -> list[tuple[float | None, int | None]]:
    """Median seconds of such a step and bytes kept; None where it would be over the budget."""
    random = np.random.default_rng(0)
    scaler = Theirs()
    found: list[tuple[float | None, int | None]] = []
    for wanted in seen:
        kept = sum(map(len, scaler.vectors.values()))
        last = found[-1][0] if found else 0.0
        if last is None or last * wanted / max(kept, 1) > budget_s:
            found.append((None, None))
            continue
        fill(scaler, random, draw, wanted - kept)
        vectors, domains = step(random, draw, QUESTIONS)
        begin = time.process_time()
        scaler.observe(vectors, domains)
        times = []
        while len(times) < repeats and (not times or sum(times) < 2.0):
            scaler.weights(vectors, domains)
            times.append(time.process_time() - begin)
            begin = time.process_time()
        found.append((statistics.median(times), scaler.size()))
    return found


def fill(
    scaler: DomainScaler | Theirs, random: np.random.Generator, draw: Draw, missing: int
) -> None:
    """Lets a scaler see what is missing, but for the last step, in steps of the usual size."""
    for start in range(0, missing - QUESTIONS, QUESTIONS):
        n = min(QUESTIONS, missing - QUESTIONS - start)
        scaler.observe(*step(random, draw, max(n, len(DOMAINS))))


def extrapolated(times: Sequence[float | None], seen: Sequence[int]) -> list[str]:
    """Times as text; those that were not run by a straight line through the last two that were."""
    run = [(n, one) for n, one in zip(seen, times, strict=True) if one is not None]
    shown = []
    for n, one in zip(seen, times, strict=True):
        if one is not None or len(run) < 2:
            shown.append("not run" if one is None else f"{1000 * one:.1f}")
            continue
        (first, low), (last, high) = run[-2:]
        line = high + (n - last) * (high - low) / (last - first)
        shown.append(f"~{1000 * line:.0f} (extrapolated)")
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seen", type=int, nargs="+", default=[500, 5000, 50_000, 200_000])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--theirs-budget-s", type=float, default=60.0)
    args = parser.parse_args()
    KMeans(2, n_init="auto").fit(np.eye(4))  # the first call loads libraries
    print(f"{QUESTIONS} questions x {ROLLOUTS} rollouts, {len(DOMAINS)} domains; CPU ms a step")
    print("| rewards | questions seen | ours, ms | theirs, ms | ratio | ours, MB | theirs, MB |")
    print("|---|---|---|---|---|---|---|")
    for kind, draw in KINDS.items():
        ours = ours_at(draw, args.seen, args.repeats)
        theirs = theirs_at(draw, args.seen, args.repeats, args.theirs_budget_s)
        shown = extrapolated([one for one, _ in theirs], args.seen)
        for n, (own, state), (other, kept), text in zip(
            args.seen, ours, theirs, shown, strict=True
        ):
            ratio = "" if other is None else f"{other / own:.0f}"
            held = "" if kept is None else f"{kept / 1e6:.2f}"
            print(
                f"| {kind} | {n:,} | {1000 * own:.1f} | {text} | {ratio} | {state / 1e6:.2f} | "
                f"{held} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
