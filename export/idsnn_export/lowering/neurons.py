"""Neurons as ONNX nodes: one time step of each, with the state handed in and out.

With a = dt/tau (`timing.leak`) forward Euler is an affine recurrence of the membrane m after reset,

    v = k m + g x + c        k = 1 - a,  g = a r,  c = a v_leak         IF, I:  k = 1,  g = dt r,  c = 0
    s = v > theta            m = v_reset where s, else v

Only spikes leave a spiking neuron, so its membrane may be rescaled: stored is v/g, compared with theta/g, which saves
the Mul of g x at every step. Our own layers (v_leak = v_reset = 0) are left with four elementwise nodes per step: Mul,
Add, Greater and Where. At the first step m = 0, and Mul and Add go too. `state.NAME` is m/g.

Reset by subtraction (`soft_reset`) keeps what the next step begins with,

    v = m + g x + c,    s = v > theta,    m = k v + g scale where s, else k v        one node more: Add
"""

from __future__ import annotations

from typing import Any

import numpy as np

from idsnn_deploy.arrays import Array

from ..graph.plan import Step
from ..graph.timing import delay_steps, gain, leak
from .emitter import Emitter, Value

StateTensors = tuple[str, ...] | None  # names of tensors; None stands for zeros
Emitted = tuple[Value, StateTensors]


def membrane(step: Step, dt: float) -> tuple[str, ...]:
    """The state of a neuron is its membrane."""
    return (step.name,)


def current_and_membrane(step: Step, dt: float) -> tuple[str, ...]:
    """The state of a current-based neuron is its synapse's current and its membrane."""
    return f"{step.name}.current", step.name


def past_inputs(step: Step, dt: float) -> tuple[str, ...]:
    """The state of a delay is what it was given 1, 2, ... steps ago."""
    return tuple(f"{step.name}.delay{k}" for k in range(1, int(delay_steps(step.node.delay, dt).max()) + 1))


def threshold(e: Emitter, step: Step, x: Value) -> Value:
    """s = x > theta."""
    return e.profile.fires(e, step.name, e.float(x), step.node.threshold)


def integrator(e: Emitter, step: Step, x: Value, state: StateTensors) -> Emitted:
    """v = m + dt r x, and v is what the node gives."""
    v = _recurrence(e, step, _scaled(e, step, e.float(x), "gain", gain(step.node.r, e.dt)), state)
    return Value(v), (v,)


def integrate_and_fire(e: Emitter, step: Step, x: Value, state: StateTensors) -> Emitted:
    """v = m + dt r x, then fires."""
    return _integrated_and_fired(e, step, x, state, gain(step.node.r, e.dt), 1.0, 0.0)


def leaky_integrator(e: Emitter, step: Step, x: Value, state: StateTensors) -> Emitted:
    """v = (1 - a) m + a r x + a v_leak, and v is what the node gives."""
    node, a = step.node, leak(step.node.tau, e.dt)
    drive = _scaled(e, step, e.float(x), "gain", a * node.r)
    v = _recurrence(e, step, drive, state, 1 - a, a * node.v_leak)
    return Value(v), (v,)


def leaky_integrate_and_fire(e: Emitter, step: Step, x: Value, state: StateTensors) -> Emitted:
    """v = (1 - a) m + a r x + a v_leak, then fires."""
    node, a = step.node, leak(step.node.tau, e.dt)
    return _integrated_and_fired(e, step, x, state, a * node.r, 1 - a, a * node.v_leak)


def soft_reset(e: Emitter, step: Step, x: Value, state: StateTensors) -> Emitted:
    """v = m + g x + c, s = v > theta, m = k v + g scale s, in units of g."""
    k, g, c = step.node.constants(e.dt)
    v = _recurrence(e, step, e.float(x), state, 1.0, c / g)
    s = e.profile.fires(e, step.name, v, step.node.threshold / g)
    kept = _scaled(e, step, v, "decay", k)
    return s, (e.profile.moved(e, step.name, s, kept, step.node.scale),)


def current_based_integrator(e: Emitter, step: Step, x: Value, state: StateTensors) -> Emitted:
    """i = (1 - a_syn) i + a_syn w_in x, then LI with i."""
    i, v = _current_based(e, step, x, state)
    return Value(v), (i, v)


def current_based_lif(e: Emitter, step: Step, x: Value, state: StateTensors) -> Emitted:
    """i = (1 - a_syn) i + a_syn w_in x, then LIF with i."""
    i, v = _current_based(e, step, x, state)
    s, m = _fire(e, step, v, step.node.v_threshold, step.node.v_reset)
    return s, (i, m)


def delay(e: Emitter, step: Step, x: Value, state: StateTensors) -> Emitted:
    """y[t] = x[t - d], d whole steps, each element with its own d; nothing arrives before the first step."""
    steps = delay_steps(step.node.delay, e.dt)
    past = (e.float(x), *(state or ()))  # past[k] is the input of k steps ago
    return Value(e.profile.arrived(e, step.name, past, steps)), past[: int(steps.max())]


def _current_based(e: Emitter, step: Step, x: Value, state: StateTensors) -> tuple[str, str]:
    """(a r i, v): the synapse's current is stored times a r, which saves one Mul per step."""
    node, a, a_syn = step.node, leak(step.node.tau_mem, e.dt), leak(step.node.tau_syn, e.dt)
    i, m = ((state[0],), (state[1],)) if state else (None, None)
    drive = _scaled(e, step, e.float(x), "gain", a * node.r * a_syn * node.w_in)
    current = _recurrence(e, step, drive, i, 1 - a_syn, prefix="syn_")
    return current, _recurrence(e, step, current, m, 1 - a, a * node.v_leak)


def _integrated_and_fired(e: Emitter, step: Step, x: Value, state: StateTensors, g: Array, k: Any, c: Any) -> Emitted:
    """v = k m + g x + c in units of g, then fires."""
    node, drive, unit = step.node, e.float(x), g
    if not (g > 0).all():  # division by 0 or a flipped comparison: multiply after all
        drive, unit = _scaled(e, step, drive, "gain", g), np.ones_like(g)
    v = _recurrence(e, step, drive, state, k, c / unit)
    s, m = _fire(e, step, v, node.v_threshold / unit, node.v_reset / unit)
    return s, (m,)


def _recurrence(
    e: Emitter, step: Step, drive: str, state: StateTensors, k: Any = 1.0, c: Any = 0.0, prefix: str = ""
) -> str:
    """v = k m + drive + c; neutral factors and summands leave no node."""
    v = drive if not np.any(c) else e.op("Add", [drive, e.parameter(step.name, f"{prefix}offset", c)], f"{step.name}.v")
    if state is None or not np.any(k):
        return v
    kept = _scaled(e, step, state[0], f"{prefix}decay", k)
    return e.op("Add", [v, kept], f"{step.name}.v")


def _fire(e: Emitter, step: Step, v: str, theta: Array, v_reset: Array) -> tuple[Value, str]:
    s = e.profile.fires(e, step.name, v, theta)
    return s, e.profile.reset(e, step.name, s, v, v_reset)


def _scaled(e: Emitter, step: Step, x: str, what: str, factor: Any) -> str:
    if np.all(np.asarray(factor) == 1):
        return x
    return e.op("Mul", [x, e.parameter(step.name, what, factor)], f"{step.name}.{what}")
