"""The fit of temperature and biases: what generated the labels is found again, and few labels move little."""

import numpy as np
import pytest

from facellm.typed import calibration


def drawn(n, temperature, biases, seed=0):
    """Scores of a model that is off by a temperature and biases, and labels drawn from the truth."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(n, len(biases))) * 2
    p = np.exp(calibration.log_softmax(true))
    labels = np.array([rng.choice(len(biases), p=row) for row in p])
    return (true - np.array(biases)) * temperature - 40, labels, p


@pytest.mark.parametrize(("temperature", "biases"), [(3.0, [1, -1]), (0.5, [1, 0, -1]), (1.0, [0, 0, 0, 0])])
def test_what_made_the_labels_is_found_again(temperature, biases):
    logits, labels, truth = drawn(4000, temperature, biases)
    found, offsets = calibration.fit(logits, labels)
    assert found == pytest.approx(temperature, rel=0.1)
    assert offsets == pytest.approx(biases, abs=0.2) and offsets.sum() == pytest.approx(0)
    assert calibration.calibrated(logits, found, offsets) == pytest.approx(truth, abs=0.05)


def test_without_biases_it_is_temperature_scaling():
    from train.reports.stats import fit_temperature

    logits, labels, _ = drawn(500, 2.0, [1, -1, 0])
    found, offsets = calibration.fit(logits, labels, biased=False)
    assert found == pytest.approx(fit_temperature(logits, labels), rel=1e-3) and not offsets.any()


def test_separable_labels_end_at_a_bound_and_few_labels_move_little():
    logits = np.array([[5.0, 0.0], [0.0, 5.0]] * 20)
    temperature, biases = calibration.fit(logits, np.array([0, 1] * 20))
    assert calibration.TEMPERATURES[0] <= temperature < 1 and np.isfinite(biases).all()
    _, few = calibration.fit(np.full((4, 2), [0.1, 0.0]), np.zeros(4, int))
    assert 0 < few[0] < 3  # four equal labels do not make a certainty
    with pytest.raises(ValueError, match="no answers"):
        calibration.fit(np.zeros((0, 2)), np.zeros(0, int))
