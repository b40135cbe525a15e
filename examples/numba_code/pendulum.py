"""A damped pendulum, simulated by a Numba kernel that trains: its gradient is the discrete adjoint of the integrator.

    angle' = velocity,   velocity' = -stiffness sin(angle) - damping velocity

One step of the classical Runge-Kutta method leads from each time to the next. The gradient is that of the numbers computed, not of
the differential equation: the backward kernel takes the steps in reverse, so it agrees with differences to the last digits.

Shapes: start_angle, start_velocity, stiffness and damping (...), times (..., n); angle and velocity (..., n), the first ones being
those of the start. Dtypes: float32, float64.
Source: Hairer, Nørsett and Wanner, "Solving Ordinary Differential Equations I", 1993, table II.1.2; for the discrete adjoint,
Hager, "Runge-Kutta methods in optimal control and the transformed adjoint system", Numer. Math. 87, 2000.
"""

import numpy as np
from numba import njit

from graphexec.math import cos, sin
from graphexec.plugin import kernel


@njit
def slope(a, v, stiffness, damping):
    """The derivatives of angle and velocity by time."""
    return v, -stiffness * sin(a) - damping * v


@njit
def slope_adjoint(a, v, stiffness, damping, d_a, d_v):
    """The products of the deltas of a slope with its derivatives by angle, velocity, stiffness and damping."""
    return -stiffness * cos(a) * d_v, d_a - damping * d_v, -sin(a) * d_v, -v * d_v


@njit
def stages(a, v, h, stiffness, damping):
    """The four slopes of a step of length h."""
    a1, v1 = slope(a, v, stiffness, damping)
    a2, v2 = slope(a + h / 2 * a1, v + h / 2 * v1, stiffness, damping)
    a3, v3 = slope(a + h / 2 * a2, v + h / 2 * v2, stiffness, damping)
    a4, v4 = slope(a + h * a3, v + h * v3, stiffness, damping)
    return a1, v1, a2, v2, a3, v3, a4, v4


@njit
def integrate(start_angle, start_velocity, stiffness, damping, times, angle, velocity):
    """Fills in angle and velocity at all times."""
    if times.size == 0:
        return
    a, v = start_angle, start_velocity
    angle[0], velocity[0] = a, v
    for i in range(times.size - 1):
        h = times[i + 1] - times[i]
        a1, v1, a2, v2, a3, v3, a4, v4 = stages(a, v, h, stiffness, damping)
        a += h / 6 * (a1 + 2 * a2 + 2 * a3 + a4)
        v += h / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
        angle[i + 1], velocity[i + 1] = a, v


def _reference(start_angle, start_velocity, stiffness, damping, times):
    rows = np.broadcast_shapes(*(np.shape(x) for x in (start_angle, start_velocity, stiffness, damping)), times.shape[:-1])
    angle, velocity = np.empty((2, *rows, times.shape[-1]), np.result_type(times))
    for i in range(times.shape[-1]):
        if i == 0:
            state = np.stack([np.broadcast_to(start_angle, rows), np.broadcast_to(start_velocity, rows)])
        else:
            h = times[..., i] - times[..., i - 1]

            def f(s):
                return np.stack([s[1], -stiffness * np.sin(s[0]) - damping * s[1]])

            k1 = f(state)
            k2 = f(state + h / 2 * k1)
            k3 = f(state + h / 2 * k2)
            k4 = f(state + h * k3)
            state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        angle[..., i], velocity[..., i] = state
    return angle, velocity


def _examples(rng, size):
    for rows, n in (((), 5), ((3,), 4), ((2,), 1), ((), 0), ((), min(size, 40) + 1)):
        yield (
            rng.uniform(-1.5, 1.5, rows), rng.uniform(-1, 1, rows), rng.uniform(1, 4, rows), rng.uniform(0, 0.5, rows),
            np.cumsum(rng.uniform(0.02, 0.1, (*rows, n)), axis=-1),
        )  # fmt: skip
    yield rng.uniform(-1, 1, (3, 1)), 0.0, rng.uniform(1, 4, 2), 0.1, np.linspace(0, 0.5, 6)  # broadcast
    yield 0.0, 0.0, 2.0, 0.1, np.linspace(0, 1, 9)  # at rest
    yield 0.5, 0.0, 2.0, 0.1, np.array([0.0, 0.1, 0.1, 0.0])  # a step of length 0, and one back


@kernel(
    "(),(),(),(),(n)->(n),(n)", outputs=("angle", "velocity"), reference=_reference, examples=_examples,
    domain={"start_angle": (-1.5, 1.5), "start_velocity": (-1.0, 1.0), "stiffness": (1.0, 4.0), "damping": (0.0, 0.5),
            "times": (0.0, 1.0)},
)  # fmt: skip
def pendulum(start_angle, start_velocity, stiffness, damping, times, angle, velocity):
    integrate(start_angle[()], start_velocity[()], stiffness[()], damping[()], times, angle, velocity)


@pendulum.backward
def _(d_angle, d_velocity, angle, velocity, stiffness, damping, times,
      d_start_angle, d_start_velocity, d_stiffness, d_damping, d_times):  # fmt: skip
    k, c = stiffness[()], damping[()]
    d_k = d_c = d_a = d_v = 0.0  # d_a and d_v: the deltas of the state at the end of the step
    d_times[:] = 0.0
    for i in range(times.size - 2, -1, -1):
        d_a += d_angle[i + 1]
        d_v += d_velocity[i + 1]
        a, v, h = angle[i], velocity[i], times[i + 1] - times[i]
        a1, v1, a2, v2, a3, v3, a4, v4 = stages(a, v, h, k, c)
        d_h = (d_a * (a1 + 2 * a2 + 2 * a3 + a4) + d_v * (v1 + 2 * v2 + 2 * v3 + v4)) / 6

        p4, q4, k4, c4 = slope_adjoint(a + h * a3, v + h * v3, k, c, h / 6 * d_a, h / 6 * d_v)
        d_h += a3 * p4 + v3 * q4
        p3, q3, k3, c3 = slope_adjoint(a + h / 2 * a2, v + h / 2 * v2, k, c, h / 3 * d_a + h * p4, h / 3 * d_v + h * q4)
        d_h += (a2 * p3 + v2 * q3) / 2
        p2, q2, k2, c2 = slope_adjoint(a + h / 2 * a1, v + h / 2 * v1, k, c, h / 3 * d_a + h / 2 * p3, h / 3 * d_v + h / 2 * q3)
        d_h += (a1 * p2 + v1 * q2) / 2
        p1, q1, k1, c1 = slope_adjoint(a, v, k, c, h / 6 * d_a + h / 2 * p2, h / 6 * d_v + h / 2 * q2)

        d_a += p1 + p2 + p3 + p4
        d_v += q1 + q2 + q3 + q4
        d_k += k1 + k2 + k3 + k4
        d_c += c1 + c2 + c3 + c4
        d_times[i + 1] += d_h
        d_times[i] -= d_h
    if times.size > 0:
        d_a += d_angle[0]
        d_v += d_velocity[0]
    d_start_angle[()], d_start_velocity[()], d_stiffness[()], d_damping[()] = d_a, d_v, d_k, d_c
