"""A small molecular dynamics simulation: Lennard-Jones atoms in a periodic box.

In reduced units. It takes about a second, and gives the examples a trajectory to analyse.
"""

from __future__ import annotations

import numpy as np

TIME_STEP = 0.004
FRAME_EVERY = 5
"""Time steps between two frames."""


class Trajectory:
    """Positions (not folded back into the box) and velocities of all atoms, frame by frame."""

    def __init__(self, positions: np.ndarray, velocities: np.ndarray, box: float) -> None:
        self.positions = positions  # frames x atoms x 3
        self.velocities = velocities
        self.box = box
        self.frame_time = TIME_STEP * FRAME_EVERY


def simulate(
    atoms_a_side: int = 4, frames: int = 120, density: float = 0.6, temperature: float = 1.5
) -> Trajectory:
    """Simulate a liquid of ``atoms_a_side ** 3`` atoms with the velocity Verlet method."""
    rng = np.random.default_rng(1)
    count = atoms_a_side**3
    box = (count / density) ** (1 / 3)
    grid = np.arange(atoms_a_side) * box / atoms_a_side
    positions = np.array(np.meshgrid(grid, grid, grid)).reshape(3, -1).T.copy()
    velocities = rng.normal(scale=temperature**0.5, size=(count, 3))
    velocities -= velocities.mean(axis=0)
    seen_positions, seen_velocities = [], []
    acceleration = forces(positions, box)
    for step in range(frames * FRAME_EVERY):
        if step % FRAME_EVERY == 0:
            seen_positions.append(positions.copy())
            seen_velocities.append(velocities.copy())
        velocities += 0.5 * TIME_STEP * acceleration
        positions += TIME_STEP * velocities
        acceleration = forces(positions, box)
        velocities += 0.5 * TIME_STEP * acceleration
    return Trajectory(np.array(seen_positions), np.array(seen_velocities), box)


def forces(positions: np.ndarray, box: float) -> np.ndarray:
    """The forces on all atoms (of mass 1), each pair at its nearest images."""
    between = positions[:, None, :] - positions[None, :, :]
    between -= box * np.round(between / box)
    squared = (between**2).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    inverse6 = 1.0 / squared**3
    strength = 24 * (2 * inverse6**2 - inverse6) / squared
    return (strength[:, :, None] * between).sum(axis=1)
