"""Fits a simulated pendulum to measured angles, and measures that beside SciPy with finite differences.

The simulation is the op of `pendulum.py`. Many swings are measured, with noise; each has its own unknown release angle, and all
share stiffness and damping. `python fit_pendulum.py` trains these numbers by `exe.fit`; where SciPy is installed, its
`least_squares` and `minimize` fit the same numbers with the same compiled kernel, and take the derivatives by differences.
"""

import time
from pathlib import Path

import numpy as np

import graphexec as gx

STIFFNESS, DAMPING = 2.5, 0.15
TIMES = np.linspace(0.0, 8.0, 161)


def load() -> None:
    """Makes `gx.ops.pendulum` an op, unless it is one already."""
    if not hasattr(gx.ops, "pendulum"):
        gx.load_plugin(Path(__file__).with_name("pendulum.py"))


def measured(swings: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Release angles, and the noisy angles of each swing at all times, (swings, times)."""
    rng = np.random.default_rng(seed)
    released = rng.uniform(0.3, 1.4, swings)
    angle, _ = gx.ops.pendulum(released, 0.0, STIFFNESS, DAMPING, TIMES)
    return released, angle + rng.normal(0.0, 0.01, angle.shape)


def guess(angles: np.ndarray) -> np.ndarray:
    """Where every fit starts: stiffness, damping and the first angle measured of each swing."""
    return np.concatenate([[1.5, 0.5], angles[:, 0]])


def build(angles: np.ndarray) -> gx.Graph:
    """The sum of squared differences; one row of data holds all swings, so that an epoch is one step."""
    g = gx.Graph("pendulum")
    y = g.input("y", ("batch", *angles.shape), "float64")
    first = guess(angles)
    stiffness, damping = g.parameter("stiffness", value=first[0]), g.parameter("damping", value=first[1])
    released = g.parameter("released", value=first[2:])
    angle, _ = gx.ops.pendulum(released, 0.0, stiffness, damping, g.constant(TIMES))
    g.output(gx.ops.sum(gx.ops.square(angle - y), name="loss"))
    return g


def fit(angles: np.ndarray, epochs: int = 600) -> gx.Executable:
    """The trained program; its parameters are the numbers sought."""
    exe = gx.compile(build(angles), loss="loss", optimizer=gx.Adam(lr=0.02), seed=0)
    exe.fit({"y": angles[None]}, epochs=epochs, batch_size=1)
    return exe


def residuals(parameters: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """What SciPy minimizes the squares of, by the same kernel."""
    angle, _ = gx.ops.pendulum(parameters[2:], 0.0, parameters[0], parameters[1], TIMES)
    return np.ravel(angle - angles)


def report(name: str, seconds: float, parameters: np.ndarray, angles: np.ndarray) -> None:
    loss = np.sum(np.square(residuals(parameters, angles)))
    print(f"  {name:34} {seconds:8.3f} s   loss {loss:.6f}   stiffness {parameters[0]:.5f}   damping {parameters[1]:.5f}")


def compare(swings: int) -> None:
    """Prints a line for each way to fit; the compiler has run before."""
    _, angles = measured(swings)
    print(f"{swings} swings, {swings + 2} unknown numbers")
    fit(angles, epochs=1)
    start = time.perf_counter()
    exe = fit(angles)
    seconds = time.perf_counter() - start
    found = np.concatenate([[exe.parameters["stiffness"], exe.parameters["damping"]], exe.parameters["released"]])
    report("exe.fit, Adam, 600 steps", seconds, found, angles)
    try:
        from scipy.optimize import least_squares, minimize
    except ImportError:
        print("  SciPy is not installed, so there is nothing to compare with: pip install scipy")
        return
    value_and_gradient = gx.compile(build(angles), loss="loss")

    def by_adjoint(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        value_and_gradient.parameters.update(stiffness=parameters[0], damping=parameters[1], released=parameters[2:])
        loss, gradients = value_and_gradient.gradients(y=angles[None])
        return float(loss), np.concatenate([[gradients["stiffness"], gradients["damping"]], gradients["released"]])

    depends = np.repeat(np.hstack([np.ones((swings, 2)), np.eye(swings)]), TIMES.size, axis=0)  # each residual, on which numbers
    for name, run in (
        ("least_squares, differences", lambda: least_squares(residuals, guess(angles), args=(angles,)).x),
        ("least_squares, sparse differences",
         lambda: least_squares(residuals, guess(angles), args=(angles,), jac_sparsity=depends).x),
        ("minimize (BFGS), differences", lambda: minimize(lambda p: np.sum(np.square(residuals(p, angles))), guess(angles)).x),
        ("minimize (BFGS), adjoint of the op", lambda: minimize(by_adjoint, guess(angles), jac=True).x),
    ):  # fmt: skip
        start = time.perf_counter()
        found = run()
        report(name, time.perf_counter() - start, found, angles)


def main() -> None:
    load()
    for swings in (4, 40):
        compare(swings)


if __name__ == "__main__":
    main()
