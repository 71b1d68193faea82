"""What the workers of ``study.py`` run: one support-vector machine, on scikit-learn's digits."""

import functools

from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

from pyrotask import handler

SAMPLES = 600


@functools.cache  # each worker reads the images once
def digits():
    data = load_digits()
    return data.data[:SAMPLES] / 16.0, data.target[:SAMPLES]


@handler
def fit(c, gamma):
    """Mean and standard deviation of the accuracy, from a threefold cross-validation."""
    images, numbers = digits()
    scores = cross_val_score(SVC(C=c, gamma=gamma), images, numbers, cv=3)
    return float(scores.mean()), float(scores.std())
