"""The contract of learning rules."""

from __future__ import annotations

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.registry import build, parts
from neurofa.audit.sequence import audit_sequence
from neurofa.audit.step import TRANSPORTS, audit
from neurofa.core.capabilities import Teaching
from neurofa.core.randomness import generator
from neurofa.core.rule import Rule
from neurofa.costs.flops import cost
from neurofa.spiking.eligibility import as_ticks
from neurofa.testing.flops import Counted
from neurofa.testing.tools import Check, batch, close, learner, require, run_all, same, sgd, small, snapshot
from neurofa.training.learner import Learner
from neurofa.training.replay import collect, loss_and_teaching, record


def builds_from_defaults(name: str) -> None:
    """A rule is made by its name alone and says what it is, where it comes from and what it copies."""
    rule = build("rule", name)
    require(isinstance(rule, Rule), f"rule '{name}' is a {type(rule).__name__}")
    require(bool(parts("rule")[name].__doc__), f"rule '{name}' has no docstring")
    require(bool(getattr(parts("rule")[name], "source", "")), f"rule '{name}' names no source")
    require(rule.declares.transports in TRANSPORTS, f"rule '{name}' declares transports={rule.declares.transports!r}")


def _learns_on(spec: str) -> Check:
    def check(name: str) -> None:
        ours = learner(name, spec)
        before = snapshot(ours.network)
        for step in range(2):
            result = ours.step(*batch(seed=step))
            require(bool(result.loss.isfinite()) and bool(result.y.isfinite().all()), "loss or output is not finite")
        after = snapshot(ours.network)
        require(all(bool(v.isfinite().all()) for v in after.values()), "a weight is not finite")
        changed = {key for key, value in after.items() if not torch.equal(value, before[key])}
        require(any(f".{ours.network.readout}." in f".{key}" for key in changed), "the readout did not change")
        hidden = {site.name for site in ours.rule.plan.hidden}
        moved = {layer for layer in hidden if any(f".{layer}.synapses." in key for key in changed)}
        require(moved in (hidden, set()), f"only {sorted(moved)} of the hidden layers {sorted(hidden)} changed")

    check.__doc__ = f"Two steps on a small {spec}: finite, and all hidden layers change (or none, for a control)."
    return check


def is_deterministic(name: str) -> None:
    """The same seeds give the same weights and pathway, bit for bit, with dropout as well."""
    runs = [learner(name, "mlp(hidden=[12, 10], dropout=0.5)", seed=3) for _ in range(2)]
    for run in runs:
        for step in range(3):
            run.step(*batch(seed=step))
    same(snapshot(runs[0].network), snapshot(runs[1].network), "network")
    same(snapshot(runs[0].rule), snapshot(runs[1].rule), "pathway")


def _is_as_declared(spec: str) -> Check:
    def check(name: str) -> None:
        report = audit(name, small(spec), *batch())
        require(report.local == report.declared_local, f"{report.verdict}: {report.dependencies}")
        require(report.transports == report.declared_transports, f"{report.verdict}: {report.dependencies}")

    check.__doc__ = f"What poisoning finds on a small {spec} is what the rule declares."
    return check


def is_as_declared_in_sequences(name: str) -> None:
    """What poisoning finds in a sequence is what the rule declares; later ticks reach no update but through time."""
    x, labels = batch(24)
    report = audit_sequence(name, small("snn"), as_ticks(x, 4), labels[:4])
    require(report.agrees, f"{report.verdict}: {report.dependencies}")
    future = {d.future_ticks for d in report.dependencies.values()}
    wanted = "yes" if build("rule", name).declares.sequences.through_time else "no"
    require(future == {wanted}, f"later ticks reach an update: {future}, declared {wanted}")


def _tells_its_products(spec: str) -> Check:
    def check(name: str) -> None:
        ours, size = learner(name, spec), 6
        told = cost(ours, batch_size=size, held=False)
        for step in range(2):
            with Counted() as counted:
                ours.step(*batch(size, seed=step))
            require(
                told.at_step(step) == counted.flop,
                f"step {step} took {counted.flop} FLOP; told are {told.at_step(step)}: {told.by_phase()}",
            )

    check.__doc__ = f"To the FLOP, what cost tells of a step on a small {spec} is what torch counts of one."
    return check


def pathway_persists(name: str) -> None:
    """State dicts and generators are all that a run needs to go on in another process."""
    ours, other = learner(name, seed=0), learner(name, seed=1)
    for step in range(2):
        ours.step(*batch(seed=step))
    other.network.load_state_dict(ours.network.state_dict())
    other.rule.load_state_dict(ours.rule.state_dict())
    other.gen.set_state(ours.gen.get_state())
    if ours.rule.gen is None or other.rule.gen is None:
        raise AssertionError("a bound rule has no generator")
    other.rule.gen.set_state(ours.rule.gen.get_state())
    other.steps = ours.steps
    for run in (ours, other):
        run.step(*batch(seed=7))
    same(snapshot(ours.network), snapshot(other.network), "network")
    same(snapshot(ours.rule), snapshot(other.rule), "pathway")


def works_in_float64(name: str) -> None:
    """A double network stays double: outputs, delivered errors, directions, weights and pathway."""
    ours = learner(name, double=True)
    x, labels = batch()
    x = x.double()
    gen = generator(0, "check")
    tick = record(ours.network, ours.rule, x, gen)
    credit = collect(ours.network, ours.rule, tick, loss_and_teaching(ours.loss, tick.y, labels)[1], gen)
    found = {"output": tick.y, **{f"error at {k}": v for k, v in credit.errors.items()}}
    found |= {f"{k} of {n}": v for n, d in credit.directions.items() for k, v in d.items()}
    for what, value in found.items():
        require(value.dtype == torch.float64, f"{what} is {value.dtype}")
    ours.step(x, labels)
    for module in (ours.network, ours.rule):
        wrong = [k for k, v in module.state_dict().items() if v.is_floating_point() and v.dtype != torch.float64]
        require(not wrong, f"{wrong} are not float64")


def works_on_a_coarse_device(name: str) -> None:
    """Weights of few bits move by whole steps of their device, and only by those."""
    ours = learner(name, device="fixed(bits=6)")
    before = snapshot(ours.network)
    for step in range(4):
        ours.step(*batch(seed=step))
    require(any(not torch.equal(v, before[k]) for k, v in snapshot(ours.network).items()), "nothing changed")
    for layer_name, layer in ours.network.items():
        for key in layer.synapses:
            s = layer.synapses[key]
            require(torch.equal(s.weight.detach(), s.device.value(s.cells)), f"{layer_name}.{key} left its device")


def takes_every_error_format(name: str) -> None:
    """The error may be sent in any registered number format."""
    for fmt in parts("format"):
        ours = learner(f"{name}(error={fmt})")
        ours.step(*batch())
        bad = [k for k, v in ours.network.state_dict().items() if not bool(v.isfinite().all())]
        require(not bad, f"error={fmt} gives numbers that are not finite in {bad}")


def works_with_every_optimizer(name: str) -> None:
    """Directions in ``.grad`` serve optimizers with a memory, which then change the weights."""
    for make in (
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        lambda p: torch.optim.Adam(p, lr=1e-3),
        lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.1),
    ):
        network = small("cnn")
        ours = Learner(network, name, optimizer=make(network.parameters()))
        before = snapshot(network)
        for step in range(2):
            ours.step(*batch(seed=step))
        after = snapshot(network)
        require(all(bool(v.isfinite().all()) for v in after.values()), "a weight is not finite")
        require(any(not torch.equal(v, before[k]) for k, v in after.items()), "nothing changed")


def direct_writes_equal_grad(name: str) -> None:
    """Writing straight into the weights equals SGD through ``.grad``, to rounding."""
    straight, through = learner(name, double=True), learner(name, double=True, clip=1e12)
    for step in range(3):
        x, labels = batch(seed=step)
        for run in (straight, through):
            run.step(x.double(), labels)
    for part in ("network", "rule"):
        ours, theirs = snapshot(getattr(straight, part)), snapshot(getattr(through, part))
        for key, value in ours.items():
            close(value, theirs[key], f"{part} {key}", 1e-11)


def accumulation_equals_one_batch(name: str) -> None:
    """Two half batches averaged into one update equal the whole batch."""
    whole, halves = learner(name, double=True), learner(name, double=True, accumulate=2)
    for step in range(2):
        x, labels = batch(8, seed=step)
        whole.step(x.double(), labels)
        for part in (slice(0, 4), slice(4, 8)):
            halves.step(x[part].double(), labels[part])
    for key, value in snapshot(whole.network).items():
        close(halves.network.state_dict()[key], value, key, 1e-11)


def zero_error_gives_no_update(name: str) -> None:
    """Without an error there is nothing to learn, for weights and pathway alike."""
    ours = learner(name)
    x, labels = batch()
    gen = generator(0, "check")
    tick = record(ours.network, ours.rule, x, gen)
    target = ours.loss.evaluate(tick.y, labels).target
    nothing = Teaching(torch.zeros_like(tick.y), target, error_for=torch.zeros_like)
    credit = collect(ours.network, ours.rule, tick, nothing, gen)
    for group, what in ((credit.directions, "weight"), (credit.plastic, "pathway")):
        for layer, found in group.items():
            for key, direction in found.items():
                require(not bool(direction.count_nonzero()), f"{what} '{key}' of {layer} would change")


def evaluation_changes_nothing(name: str) -> None:
    """Looking at outputs leaves weights, pathway, generators and the mode as they were."""
    ours = learner(name, "cnn")
    ours.step(*batch())

    def state() -> dict[str, Tensor]:
        kept = {f"network.{k}": v for k, v in snapshot(ours.network).items()}
        kept |= {f"rule.{k}": v for k, v in snapshot(ours.rule).items()}
        return kept | {f"gen.{i}": g.get_state() for i, g in enumerate((ours.gen, ours.rule.gen)) if g is not None}

    before = state()
    first, second = (ours.evaluate(batch(seed=2)[0]) for _ in range(2))
    require(torch.equal(first, second), "two evaluations differ")
    require(ours.network.training, "the network was left in evaluation mode")
    same(state(), before, "evaluation")


def refuses_nan(name: str) -> None:
    """NaN in a batch is an error that names the layer, and no weight has been touched."""
    ours = learner(name)
    before = snapshot(ours.network)
    x, labels = batch()
    x[0] = float("nan")
    try:
        ours.step(x, labels)
    except NeurofaError as error:
        require(ours.network.names[0] in str(error), f"the message names no layer: {error}")
    else:
        raise AssertionError("a batch with NaN was learnt from")
    same(snapshot(ours.network), before, "after the refusal")


def learns_from_one_sample(name: str) -> None:
    """A batch of one works, and two steps without training data in between give finite weights."""
    ours = learner(name)
    for step in range(2):
        ours.step(*batch(1, seed=step))
    require(all(bool(v.isfinite().all()) for v in snapshot(ours.network).values()), "a weight is not finite")


def trains_beyond_chance(name: str) -> None:
    """Thirty steps on one batch lower its loss."""
    network = small("mlp")
    ours = Learner(network, name, optimizer=sgd(network, 0.05))
    x, labels = batch(16)
    losses = [float(ours.step(x, labels).loss) for _ in range(30)]
    require(losses[-1] < losses[0], f"loss went from {losses[0]:.3f} to {losses[-1]:.3f}")


def rule_checks() -> list[tuple[str, Check]]:
    """All checks of a rule, by name."""
    plain: list[Check] = [
        builds_from_defaults, is_deterministic, pathway_persists, works_in_float64, works_on_a_coarse_device,
        takes_every_error_format, works_with_every_optimizer, direct_writes_equal_grad, accumulation_equals_one_batch,
        zero_error_gives_no_update, evaluation_changes_nothing, refuses_nan, learns_from_one_sample,
        trains_beyond_chance, is_as_declared_in_sequences,
    ]  # fmt: skip
    named = [(check.__name__, check) for check in plain]
    for spec in ("mlp", "cnn", "vit", "snn"):
        named += [(f"learns_on_{spec}", _learns_on(spec)), (f"is_as_declared_on_{spec}", _is_as_declared(spec))]
    named += [
        (f"tells_its_products_on_{spec}", _tells_its_products(spec)) for spec in ("mlp", "cnn", "vgg", "vit", "snn")
    ]
    return named


def check_rule(name: str) -> None:
    """Hold one registered rule to the whole contract.

    Raises:
        AssertionError: naming what is broken.
    """
    run_all("rule", name, rule_checks())
