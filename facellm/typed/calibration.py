"""Temperature and bias of a choice between labels, fitted on labelled answers, and the calibration error."""

from __future__ import annotations

import numpy as np

ECE_BINS = 15  # equal-width bins of the top label's confidence, as in Guo et al. 2017, "On Calibration of Modern
# Neural Networks" (arXiv 1706.04599), section 2
TEMPERATURES = (0.05, 20.0)  # bounds of the fit
PRIOR = 0.1  # precision of the normal prior on each bias, in 1 / nats**2: few pictures move them little
_STEPS = 100  # Newton's method needs about ten


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Returns log-probabilities of (n, labels) log-scores; -inf marks a label that is not offered."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def fit(logits: np.ndarray, labels: np.ndarray, biased: bool = True) -> tuple[float, np.ndarray]:
    """Fits softmax(logits / temperature + biases) to labels by penalised maximum likelihood.

    This is Platt's scaling for several labels (Guo et al. 2017, section 4.2, vector scaling with one scale): convex in
    1 / temperature and the biases, so Newton's method with step halving finds the minimum.

    Args:
        logits: (n, labels) log-likelihoods in nats.
        labels: (n,) indices of the right labels.
        biased: Whether biases are fitted too; else they are 0.

    Returns:
        The temperature, within TEMPERATURES, and the biases, (labels,), which sum to 0.

    Raises:
        ValueError: For no rows.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    if len(labels) == 0:
        raise ValueError("A calibration cannot be fitted to no answers.")
    count = logits.shape[1]
    centred = logits - logits.mean(-1, keepdims=True)
    scale = 1 / max(float(centred.std()), 1e-9)  # the scale is fitted in units of the scores' own spread
    unit, hot = centred * scale, np.eye(count)[labels]
    penalty = np.concatenate([[1e-6], np.full(count, PRIOR if biased else 1e12)])
    point = np.concatenate([[1 / scale], np.zeros(count)])

    def loss(at: np.ndarray) -> float:
        logs = log_softmax(unit * at[0] + at[1:])
        return float(-(logs * hot).sum() + 0.5 * (penalty * at**2).sum())

    low, high = 1 / (TEMPERATURES[1] * scale), 1 / (TEMPERATURES[0] * scale)
    now = loss(point)
    for _ in range(_STEPS):
        p = np.exp(log_softmax(unit * point[0] + point[1:]))
        error = p - hot
        gradient = np.concatenate([[(error * unit).sum()], error.sum(0)]) + penalty * point
        mean = (p * unit).sum(-1)
        cross = (p * (unit - mean[:, None])).sum(0)
        hessian = np.diag(penalty).astype(float)
        hessian[0, 0] += float((p * unit**2).sum() - (mean**2).sum())
        hessian[0, 1:] += cross
        hessian[1:, 0] += cross
        hessian[1:, 1:] += np.diag(p.sum(0)) - p.T @ p
        step, size = np.linalg.solve(hessian + 1e-9 * np.eye(count + 1), gradient), 1.0
        while size > 1e-6:
            moved = point - size * step
            moved[0] = min(max(moved[0], low), high)
            if (there := loss(moved)) <= now:
                break
            size /= 2
        else:
            break
        done = now - there < 1e-12 * max(1.0, abs(now))
        point, now = moved, there
        if done:
            break
    biases = point[1:] - point[1:].mean() if biased else np.zeros(count)
    return float(1 / (point[0] * scale)), biases


def calibrated(logits: np.ndarray, temperature: float, biases: np.ndarray) -> np.ndarray:
    """Returns the probabilities (n, labels) that a fit gives."""
    return np.exp(log_softmax(np.asarray(logits, np.float64) / temperature + biases))


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = ECE_BINS) -> float:
    """Guo et al. 2017: sum over equal-width bins of (bin's share) x |accuracy - mean confidence|, of the top label.

    probabilities (n, labels), labels (n,) integer indices. Raises ValueError for no rows.
    """
    return float(sum(row["gap"] * row["share"] for row in reliability(probabilities, labels, bins)))


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = ECE_BINS) -> list[dict[str, float]]:
    """The occupied bins of the reliability diagram: low, high, share, confidence, accuracy, gap, count.

    Bins are (low, high], the first one closed at 0."""
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    if len(labels) == 0 or probabilities.shape[0] != len(labels):
        raise ValueError("Calibration needs as many rows of probabilities as labels, and at least one.")
    top, right = probabilities.max(-1), probabilities.argmax(-1) == labels
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.digitize(top, edges, right=True) - 1, 0, bins - 1)
    rows = []
    for index in range(bins):
        inside = place == index
        if not inside.any():
            continue
        confidence, accuracy = float(top[inside].mean()), float(right[inside].mean())
        rows.append(
            {
                "low": float(edges[index]), "high": float(edges[index + 1]), "count": int(inside.sum()),
                "share": float(inside.mean()), "confidence": confidence, "accuracy": accuracy,
                "gap": abs(accuracy - confidence),
            }
        )  # fmt: skip
    return rows
