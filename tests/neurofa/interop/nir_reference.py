"""An independent simulator of NIR graphs: every node by itself, in numpy, by the documented Euler or exact step.

It follows the edges: a node that lies on a loop receives what the other end of the loop sent in the tick before.
Neurons begin at v_reset (those without a reset at 0), and synaptic currents at 0.
"""

from __future__ import annotations

import numpy as np

NEURONS = ("LIF", "CubaLIF", "IF", "LI", "CubaLI", "I")


def simulate(graph, xs, dt=None, method="euler"):
    """Run a nir.NIRGraph on (T, *input_shape): outputs (T, *output_shape), and spikes by node (with a path)."""
    nodes, edges, (first, last) = opened(graph, "")
    state, sent, outputs, spikes = {}, {}, [], {}
    for x in xs:
        now = {}
        for name in ordered(nodes, edges):
            node = nodes[name]
            if name == first:
                now[name] = np.asarray(x, dtype=np.float64)
                continue
            total = 0.0
            for source in [a for a, b in edges if b == name]:
                # a loop's weights act on the spikes of the tick before
                total = total + (now[source] if source in now else looped(source, nodes, edges, sent))
            now[name] = step(name, node, total, state, dt, method)
            if type(node).__name__ in ("LIF", "CubaLIF", "IF", "Threshold"):
                spikes.setdefault(name, []).append(now[name])
        outputs.append(now[last])
        sent = now
    return np.stack(outputs), {name: np.stack(z) for name, z in spikes.items()}


def looped(source, nodes, edges, sent):
    node = nodes[source]
    if type(node).__name__ in NEURONS:
        return sent.get(source, 0.0)
    before = [a for a, b in edges if b == source]
    zeros = np.zeros(np.shape(node.weight)[1] if hasattr(node, "weight") else np.shape(node.scale))
    return step(source, node, sum((sent.get(a, zeros) for a in before), zeros), {}, None, None)


def opened(graph, place):
    nodes, edges, ends = {}, [], {}
    for name, node in graph.nodes.items():
        if type(node).__name__ == "NIRGraph":
            inner, inside, ends[name] = opened(node, f"{place}{name}/")
            nodes |= inner
            edges += inside
        else:
            nodes[place + name] = node
            ends[name] = (place + name, place + name)
    edges += [(ends[a][1], ends[b][0]) for a, b in graph.edges]
    begin = next(place + n for n, node in graph.nodes.items() if type(node).__name__ == "Input")
    end = next(place + n for n, node in graph.nodes.items() if type(node).__name__ == "Output")
    return nodes, edges, (begin, end)


def ordered(nodes, edges):
    order, left = [], list(nodes)
    loops = {
        n for n in nodes for a, b in edges if b == n and (n, a) in edges and type(nodes[n]).__name__ not in NEURONS
    }
    left = [n for n in left if n not in loops]
    while left:
        ready = [n for n in left if all(a == n or a in order or a in loops for a, b in edges if b == n)]
        order += ready
        left = [n for n in left if n not in ready]
    return order


def step(name, node, x, state, dt, method):
    kind = type(node).__name__
    if kind in ("Linear", "Affine"):
        return np.asarray(node.weight, dtype=np.float64) @ x + (node.bias if kind == "Affine" else 0.0)
    if kind == "Scale":
        return x * node.scale
    if kind == "Threshold":
        return (x > node.threshold).astype(float)
    if kind in ("Conv1d", "Conv2d"):
        return convolved(node, x)
    if kind in ("SumPool2d", "AvgPool2d"):
        return pooled(node, x, np.sum if kind == "SumPool2d" else np.mean)
    if kind == "Flatten":
        begin, end = int(node.start_dim) % x.ndim, int(node.end_dim) % x.ndim
        return x.reshape(*x.shape[:begin], -1, *x.shape[end + 1 :])
    if kind in NEURONS:
        return fired(name, kind, node, x, state, dt, method)
    return x


def share(dt, tau, method):
    tau = np.asarray(tau, dtype=np.float64)
    return dt / tau if method == "euler" else 1 - np.exp(-dt / tau)


def fired(name, kind, node, x, state, dt, method):
    reset = np.asarray(getattr(node, "v_reset", 0.0), dtype=np.float64)
    v, i = state.get(name, (reset + np.zeros_like(x), np.zeros_like(x)))
    drive = x
    if kind in ("CubaLIF", "CubaLI"):
        i = i + share(dt, node.tau_syn, method) * (node.w_in * x - i)
        drive = i
    if kind in ("IF", "I"):
        v = v + dt * node.r * drive
    else:
        tau = node.tau_mem if kind.startswith("Cuba") else node.tau
        v = v + share(dt, tau, method) * (node.v_leak - v + node.r * drive)
    if not hasattr(node, "v_threshold"):
        state[name] = (v, i)
        return v
    z = v > node.v_threshold
    state[name] = (np.where(z, reset, v), i)
    return z.astype(float)


def convolved(node, x):
    weight = np.asarray(node.weight, dtype=np.float64)
    line = weight.ndim == 3
    if line:
        weight, x = weight[:, :, None, :], x[:, None, :]
    kh, kw = weight.shape[2:]

    def two(value, plain):
        values = np.broadcast_to(np.asarray(value).reshape(-1), (1,) if line else (2,)).tolist()
        return (plain, *values) if line else tuple(values)

    (sh, sw), (dh, dw) = two(node.stride, 1), two(node.dilation, 1)
    if node.padding == "same":
        total = (dh * (kh - 1), dw * (kw - 1))
        pads = [(t // 2, t - t // 2) for t in total]
    else:
        pads = [(p, p) for p in ((0, 0) if node.padding == "valid" else two(node.padding, 0))]
    x = np.pad(x, [(0, 0), *pads])
    groups, n = int(node.groups), weight.shape[0] // int(node.groups)
    h = (x.shape[1] - dh * (kh - 1) - 1) // sh + 1
    w = (x.shape[2] - dw * (kw - 1) - 1) // sw + 1
    out = np.zeros((weight.shape[0], h, w))
    for c in range(weight.shape[0]):
        mine = x[(c // n) * weight.shape[1] : (c // n + 1) * weight.shape[1]]
        assert groups >= 1
        for a in range(h):
            for b in range(w):
                patch = mine[:, a * sh : a * sh + dh * (kh - 1) + 1 : dh, b * sw : b * sw + dw * (kw - 1) + 1 : dw]
                out[c, a, b] = (patch * weight[c]).sum() + np.broadcast_to(node.bias, (weight.shape[0],))[c]
    return out[:, 0] if line else out


def pooled(node, x, how):
    (kh, kw), (sh, sw), (ph, pw) = (
        np.broadcast_to(np.asarray(value).reshape(-1), (2,)).tolist()
        for value in (node.kernel_size, node.stride, node.padding)
    )
    x = np.pad(x, [(0, 0), (ph, ph), (pw, pw)])
    h, w = (x.shape[1] - kh) // sh + 1, (x.shape[2] - kw) // sw + 1
    windows = [[x[:, a * sh : a * sh + kh, b * sw : b * sw + kw] for b in range(w)] for a in range(h)]
    return np.stack([np.stack([how(win, axis=(1, 2)) for win in row], -1) for row in windows], -2)
