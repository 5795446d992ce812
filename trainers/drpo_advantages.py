"""From rewards to advantages: numpy only, and the same bit for bit for any order of rollouts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

STD_EPSILON = 1e-4  # TRL's, added to every standard deviation that it divides by
KL_QUANTILE = 0.75  # of the released code's unused form; the paper names no number


def unit_rewards(
    rewards: np.ndarray, weights: np.ndarray, bounds: Sequence[tuple[float, float]]
) -> np.ndarray:
    """Returns one reward in [0, 1] for each completion: sum(w_i u_i) / sum(w_i).

    u_i is reward i on the scale from its least to its greatest value, clipped; the sums run over
    the functions that applied, so that a row for which fewer did does not look harder. A negative
    weight makes u_i count as 1 - u_i.

    Args:
        rewards: shape (completions, functions); NaN where a function did not apply.
        weights: shape (functions,).
        bounds: least and greatest value of each function.

    Returns:
        float64, shape (completions,); NaN where no function with a weight applied.
    """
    low, high = np.array(bounds, dtype=np.float64).T
    unit = np.clip((rewards - low) / (high - low), 0.0, 1.0)
    unit = np.where(weights < 0, 1.0 - unit, unit)
    sizes = np.where(np.isnan(rewards), 0.0, np.abs(weights))
    total = sizes.sum(axis=1)
    summed = (np.nan_to_num(unit) * sizes).sum(axis=1)
    known = total > 0
    mean = np.divide(summed, total, out=np.full(len(rewards), np.nan), where=known)
    return np.clip(mean, 0.0, 1.0)


def summed_rewards(rewards: np.ndarray, weights: np.ndarray, group: int) -> np.ndarray:
    """Returns the weighted sum of each completion's rewards, over the functions that applied.

    sum(w_i r_i) S / S_applied, S the sum of |w_i|: weights .6, .2, .2 become .75 and .25 where the
    last does not apply. Where all apply this is TRL's sum. TRL adds up what there is, which counts
    as 0 a reward that is absent from some rollouts of a question; one absent from all of them
    cancels in the normalisation within the question, here and there.

    Args:
        rewards: shape (completions, functions); NaN where a function did not apply.
        weights: of the functions, shape (functions,).
        group: completions of one question.

    Returns:
        float64, shape (questions, group); NaN where no function with a weight applied.
    """
    sizes = np.abs(weights)
    applied = np.where(np.isnan(rewards), 0.0, sizes).sum(axis=1)
    known = applied > 0
    factor = np.divide(sizes.sum(), applied, out=np.full(len(rewards), np.nan), where=known)
    factor[known & ~np.isnan(rewards).any(axis=1)] = 1.0  # whatever the rounding of the sums
    return (np.nansum(rewards * weights, axis=1) * factor).reshape(-1, group)


def normalise(rewards: np.ndarray) -> np.ndarray:
    """Returns (r - mean) / (std + 1e-4) within each question, ddof 1, as TRL computes it.

    Args:
        rewards: float64, shape (questions, rollouts); NaN where a rollout has none.

    Returns:
        The same shape; 0 where a rollout has no reward or a question has no spread.
    """
    ordered = np.sort(rewards, axis=1)  # NaN last; sums in this order need not know the rollouts'
    known = ~np.isnan(ordered)
    counts = known.sum(axis=1)
    ordered = np.where(known, ordered, 0.0)
    mean = ordered.sum(axis=1) / np.maximum(counts, 1)
    squares = np.where(known, ordered - mean[:, None], 0.0) ** 2
    std = np.sqrt(squares.sum(axis=1) / np.maximum(counts - 1, 1))
    scaled = (rewards - mean[:, None]) / (std + STD_EPSILON)[:, None]
    return np.where(np.isnan(rewards) | ~varies(rewards)[:, None], 0.0, scaled)


def varies(rewards: np.ndarray) -> np.ndarray:
    """Returns which questions have rollouts of different rewards: only they teach anything.

    Args:
        rewards: shape (questions, rollouts); NaN where a rollout has none.
    """
    known = ~np.isnan(rewards)
    high = np.where(known, rewards, -np.inf).max(axis=1)
    low = np.where(known, rewards, np.inf).min(axis=1)
    return low < high


def group_advantages(rewards: np.ndarray, weights: np.ndarray, group: int) -> np.ndarray:
    """Returns GRPO's advantages (r - mean) / (std + 1e-4) within each group, ddof 1.

    Args:
        rewards: shape (completions, functions); NaN where a function did not apply.
        weights: of the functions, shape (functions,).
        group: completions of one question.

    Returns:
        float64, shape (completions,); 0 where no function applied or a group has no spread.
    """
    return normalise(summed_rewards(rewards, weights, group)).ravel()


def over_std(
    advantages: np.ndarray, scored: np.ndarray, epsilon: float = STD_EPSILON
) -> np.ndarray:
    """Returns advantages over their standard deviation in the batch, ddof 1.

    QoQ-Med, section 3.3. `epsilon` keeps rounding errors of a batch without any spread small.

    Args:
        advantages: any shape.
        scored: which of them have a reward, the same shape.
        epsilon: added to the standard deviation.
    """
    values = advantages[scored]
    if len(values) < 2:
        return np.zeros_like(advantages)
    mean = math.fsum(values) / len(values)
    std = math.sqrt(math.fsum((values - mean) ** 2) / (len(values) - 1))
    return advantages / (std + epsilon)


def rescale(advantages: np.ndarray, weights: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Returns weighted advantages over their standard deviation in the batch: `over_std`.

    Args:
        advantages: shape (completions,).
        weights: shape (completions,), positive.
        scored: which completions have a reward, shape (completions,).
    """
    return over_std(advantages * weights, scored)


def kl_damping(scaled: np.ndarray, kl: np.ndarray, quantile: float = KL_QUANTILE) -> np.ndarray:
    """Returns m = t / (t + max(s k, 0)) for each advantage: QoQ-Med, section 3.3.

    A rollout that is rewarded and already far from the reference counts less; all others keep
    m = 1. The paper does not say what t is, except a percentile: here that of the products s k
    above 0 in the batch, so that m does not depend on the scale of either.

    Args:
        scaled: weighted advantages, any shape.
        kl: divergence of each response from the reference, at least 0, the same shape.
        quantile: which quantile t is.
    """
    product = np.maximum(scaled * kl, 0.0)
    positive = product[product > 0]
    if not len(positive):
        return np.ones_like(scaled)
    threshold = float(np.quantile(positive, quantile))
    return threshold / (threshold + product)
