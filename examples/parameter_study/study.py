"""A parameter study: which support-vector machine reads handwritten digits best?

For each pair of two parameters a model is fitted and judged by cross-validation (``fits.py``,
with scikit-learn), in two worker processes. The broker is in this process, and the workers are
started here; more can be added from other terminals, by
``pyrotask worker "digits study" --module fits``.

Run it in this folder with ``python study.py [PICTURE]``; it needs scikit-learn and matplotlib. It
prints a table of the accuracies with the best pair below, and draws them in ``digits.png``.
"""

import itertools
import sys

import matplotlib as mpl
import numpy as np

from pyrotask import Server, TaskManager
from pyrotask.worker.supervisor import Supervisor

LABEL = "digits study"
PENALTIES = [0.1, 1.0, 10.0, 100.0]
GAMMAS = [0.001, 0.01, 0.1, 1.0]


def main():
    picture = sys.argv[1] if len(sys.argv) > 1 else "digits.png"
    accuracies = study()
    show(accuracies)
    draw(accuracies, picture)
    print(f"drawn in {picture}")


def study():
    """The accuracy for each pair, penalties by gammas."""
    accuracies = np.zeros((len(PENALTIES), len(GAMMAS)))
    with TaskManager() as tasks, Server(tasks, LABEL), Supervisor(LABEL, 2, ["fits"]):
        pairs = itertools.product(range(len(PENALTIES)), range(len(GAMMAS)))
        where = {tasks.addTaskRequest("fit", (PENALTIES[i], GAMMAS[j])): (i, j) for i, j in pairs}
        while where:
            task_id, _tag, (accuracy, _deviation) = tasks.getAnyResult()
            accuracies[where.pop(task_id)] = accuracy
        tasks.terminate()
    return accuracies


def show(accuracies):
    print("C \\ gamma " + "".join(f"{gamma:9g}" for gamma in GAMMAS))
    for penalty, line in zip(PENALTIES, accuracies, strict=True):
        print(f"{penalty:9g} " + "".join(f"{accuracy:9.3f}" for accuracy in line))
    i, j = np.unravel_index(accuracies.argmax(), accuracies.shape)
    print(f"best: C = {PENALTIES[i]:g}, gamma = {GAMMAS[j]:g}, accuracy {accuracies[i, j]:.3f}")


def draw(accuracies, picture):
    mpl.use("Agg")  # into a file, without a screen
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots()
    image = axes.imshow(accuracies, origin="lower", vmin=0, vmax=1)
    axes.set_xticks(range(len(GAMMAS)), [f"{gamma:g}" for gamma in GAMMAS])
    axes.set_yticks(range(len(PENALTIES)), [f"{penalty:g}" for penalty in PENALTIES])
    axes.set_xlabel("gamma")
    axes.set_ylabel("C")
    figure.colorbar(image, label="accuracy")
    figure.savefig(picture)


if __name__ == "__main__":
    main()
