"""What the slaves of ``d_script.py`` can compute, of a Lennard-Jones trajectory in reduced units."""

import numpy as np


def do_temperature(trajectory):
    velocities = trajectory.velocities
    frames, atoms, _ = velocities.shape
    return (velocities**2).sum() / frames / (3 * atoms - 3)


def do_pressure(trajectory):
    """From the virial theorem: what the ideal gas would have, and what the forces add."""
    atoms = trajectory.positions.shape[1]
    volume = trajectory.box**3
    virial = np.mean([_virial(frame, trajectory.box) for frame in trajectory.positions])
    return (atoms * do_temperature(trajectory) + virial / 3) / volume


def do_diffusion(trajectory):
    """From the velocity autocorrelation (Green and Kubo): its integral over time."""
    velocities = trajectory.velocities
    lags = len(velocities) // 3
    correlation = [
        (velocities[lag:] * velocities[: len(velocities) - lag]).sum(axis=2).mean() for lag in range(lags)
    ]
    return np.trapezoid(correlation, dx=trajectory.frame_time) / 3


def _virial(positions, box):
    between = positions[:, None, :] - positions[None, :, :]
    between -= box * np.round(between / box)
    squared = (between**2).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    inverse6 = 1.0 / squared**3
    return (24 * (2 * inverse6**2 - inverse6)).sum() / 2
