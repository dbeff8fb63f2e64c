"""The learner, and the training step: forward, error at the readout, delivered errors, local updates, writes.

:meth:`Learner.step` learns from a batch, :meth:`Learner.chunk` from K ticks. In both, :func:`forward_pass`
fills a view for every layer, the loss gives the error at the output, :func:`assign` lets the rule deliver it and every
layer compute its directions, and ``_assign_and_write`` applies these to the weights. Extra passes (second passes,
probes, noise passes) are in :mod:`neurofa.training.extra_passes`, updates through an optimizer's ``.grad`` in
:mod:`neurofa.training.update`. The module is long because it contains the whole step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor
from torch.linalg import vector_norm

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.capabilities import Teaching
from neurofa.core.directions import Direction, Directions, Outer, RowSums, Sum
from neurofa.core.event_rows import SEARCH_FROM, event_rows
from neurofa.core.events import Events
from neurofa.core.feedback import check_scale
from neurofa.core.layer import Layer
from neurofa.core.loss import Loss, LossResult
from neurofa.core.network import Network, evaluating
from neurofa.core.programming import warn_of_clipping
from neurofa.core.randomness import generator
from neurofa.core.rule import Rule, bind_rule
from neurofa.core.synapses import Synapses
from neurofa.core.view import LocalView, State, Tick
from neurofa.spiking.eligibility import as_ticks
from neurofa.spiking.sequence import CHUNK, chunks, initial_states, takes_events
from neurofa.spiking.temporal import Temporal, carry_traces
from neurofa.training.answers import loss_of_sequence, outputs_of_ticks, responses
from neurofa.training.bptt import learn_through_time
from neurofa.training.chunk_size import chunk_size, memory_chunk, whole_sequence
from neurofa.training.extra_passes import make_extra_passes, noise_pass
from neurofa.training.finite import (
    explain_loss,
    explain_memory,
    refuse_directions,
    refuse_input,
    refuse_later,
    refuse_loss,
)
from neurofa.training.loop.fit import fit
from neurofa.training.sequence_rules import check_sequence_rule, check_sequence_traces, filter_decay
from neurofa.training.step_types import ChunkSpan, Emit, Graded, ReturnWeightsOf, SequenceUpdate, StepResult
from neurofa.training.summary import learner_summary
from neurofa.training.targets import TargetSchedule, target_schedule, taught_ticks
from neurofa.training.update import Updater

UPDATES = ("end", "chunk", "tick")
Sizes = dict[int, tuple[Tensor, float]]
"""Tensors and their norms by ``id``, which is theirs alone as long as the table holds them."""


def loss_and_teaching(
    loss: Loss, y: Tensor, target: Tensor, weight: Tensor | None = None
) -> tuple[LossResult, Teaching]:
    """Return the loss of one batch, and the signals for a rule: output error, target, and errors for other outputs.

    A network that answers at each of S positions has one error a position: N = B S rows instead of B.

    Args:
        loss: loss of the run.
        y: (B, o) network output, or (B, S, o).
        target: (B,) labels or (B, o) values; (B, S) or (B, S, o) with S positions.
        weight: (B,) weights of the samples, or (B, S) of the positions; None: 1 each.

    Raises:
        NeurofaError: targets or weights that do not have one entry a position; weights for a loss without them.
    """
    if y.dim() == 2:

        def of(outputs: Tensor) -> LossResult:
            return loss.evaluate(outputs, target) if weight is None else loss.weighted(outputs, target, weight)

        result = of(y)
        return result, Teaching(result.error, result.target, error_for=lambda other: of(other).error)
    if target.shape[:2] != y.shape[:2]:
        raise NeurofaError(
            f"got targets of shape {tuple(target.shape)} for outputs at {y.shape[1]} positions; expected one target a"
            f" position, ({y.shape[0]}, {y.shape[1]}); check the data set"
        )
    if weight is not None:
        if weight.shape not in (y.shape[:1], y.shape[:2]):
            raise NeurofaError(
                f"got weights of shape {tuple(weight.shape)} for {y.shape[0]} samples of {y.shape[1]} positions;"
                f" expected one number a sample, ({y.shape[0]},), or a position, {tuple(y.shape[:2])}; reshape them"
            )
        weight = (weight if weight.dim() == 2 else weight.unsqueeze(1).expand(y.shape[:2])).flatten()
    return loss_and_teaching(loss, y.flatten(0, 1), target.flatten(0, 1), weight)


@torch.no_grad()
def forward_pass(
    network: Network,
    x: Tensor,
    *,
    gen: torch.Generator | None = None,
    return_weights: ReturnWeightsOf | None = None,
    states: Mapping[str, State] | None = None,
    ticks: int | None = None,
    kappa: float = 0.0,
    graphs: bool = True,
) -> Tick:
    """Compute one tick of a network, or a chunk of K ticks, and return its output and the view of every layer.

    In a chunk every layer computes all ticks before the next layer begins. Layers without a memory treat ticks as
    samples. Dense spikes at the lowest map are converted to events if that is faster
    (:func:`neurofa.core.event_rows.event_rows`).

    Args:
        network: in training or evaluation mode, which is not changed.
        x: (B, *input_shape); for a chunk (K B, *input_shape), tick by tick.
        gen: source of dropout masks, read noise and the noise of arrays.
        return_weights: for chained rules, function from a layer's name and weights to its return weights; errors are
            then returned from layer to layer.
        states: states before the tick: of all layers, to repeat a tick with its dropout masks; for a chunk those of the
            layers with a memory, with traces if there are any. None: initial ones.
        ticks: K; None: one tick, without memory.
        kappa: decay of the filter through which errors reach hidden layers (chunks).
        graphs: whether layers without closed forms keep their autograd graphs; without, they compute again to learn.

    Returns:
        Output and views, without errors; for a chunk also the states after the last tick, without traces.

    Raises:
        NeurofaError: a batch with a wrong shape or dtype.
    """
    tensor = isinstance(x, Tensor)  # callers without types pass arrays and lists
    if ticks is None and not (
        tensor
        and tuple(x.shape[1:]) == network.input_shape
        and x.dtype == network.first[0].weight.dtype
        and network.vocabulary is None
    ):
        network.check(x)
    views: dict[str, LocalView] = {}
    states_after: dict[str, State] = {}
    learns_below = False
    for name, layer in network.chain:
        params = layer.synapses.read(gen)
        back = return_weights(name, params) if return_weights is not None and params else None
        if ticks is not None and not learns_below and x.dim() == 2 and x.numel() >= SEARCH_FROM and takes_events(layer):
            x = event_rows(x)
        if ticks is not None and states is not None and isinstance(layer, Temporal):
            before = states[name]
            if layer.arrays is not None:
                before = {**before, **layer.fresh_state(x, gen)}
            y, left, states_after[name] = layer.run_ticks(params, x, ticks, before)
            decay = 0.0 if name == network.readout else kappa
            views[name] = LocalView(x, y, params, before, left, back, filter_decay=decay)
        else:
            before = layer.fresh_state(x, gen) if states is None or ticks is not None else states[name]
            if graphs or layer.traits.closed_form:
                y, after, graph = layer.record(params, x, before, back, return_weights is not None and learns_below)
            else:
                y, after, graph = *layer.compute(params, x, before), None
            views[name] = LocalView(x, y, params, before, after, back, graph)
        learns_below = learns_below or bool(params)
        x = y
    return Tick(x, views, states_after)


def assign(
    network: Network,
    rule: Rule,
    tick: Tick,
    teaching: Teaching,
    emit: Emit,
    gen: torch.Generator | None = None,
    *,
    release: bool = False,
) -> None:
    """Run the backward phase of one tick: deliver errors and compute directions, from the readout to the input.

    Only the views are used, so that the phase can be replayed: the audit poisons the network between two replays, and
    the diagnostics apply another rule to the same tick.

    Args:
        network: for the order of the layers.
        rule: bound to the network.
        tick: from :func:`forward_pass`.
        teaching: error (B, o) and target (B, o).
        emit: called with the directions of each layer, summed over the batch, as soon as they are computed.
        gen: source of the pathway's read noise and stochastic rounding.
        release: whether each view is removed from the tick before its layer learns, so that its memory can be reused.
    """
    declares = rule.declares
    rule.begin(teaching, gen)
    error: Tensor | None
    error_above: Tensor | None = None
    for name, layer in reversed(network.chain):
        view = tick.views.pop(name) if release else tick.views[name]
        if not view.params:
            if error_above is not None:  # a layer without weights returns the error through its own transpose
                view = layer.backprop_local(replace(view, error=error_above))
                error_above = layer.input_error(view, {})
            continue
        own_teaching = replace(teaching, error_above=error_above, view=view)
        if name == network.readout:
            # the readout receives the error itself, not in the number format of the pathway
            error = teaching.error if declares.second_pass is None else declares.second_pass.readout_error(own_teaching)
        else:
            error = rule.deliver(name, own_teaching)
        if error is None:
            continue
        if network.positions is not None:  # rows of B S positions, as samples of S positions
            error = error.reshape(view.y.shape)
        view, directions = rule.update(name, layer, replace(view, error=error))
        error_above = None
        if declares.return_path is not None and name != network.lowest and view.return_weights is not None:
            sent = view
            if name == network.readout and rule.encoder.name != "raw":
                # the readout learns from the exact error but returns the encoded one
                encoded = rule.encoder.quantize(teaching.error, gen)
                sent = layer.backprop_local(replace(view, error=encoded, delta=None, input_error=None))
            error_above = layer.input_error(sent, view.return_weights)
        emit(name, layer, view, directions)


def update_running_stats(network: Network, tick: Tick) -> None:
    """Update the running statistics of every layer from one tick."""
    for name, layer in network.chain:
        if tick.views[name].after and not isinstance(layer, Temporal):
            layer.update_running_stats(tick.views[name].after)


class Learner:
    """Trains a network by a learning rule, without ``loss.backward()``.

    Args:
        network: the chain of layers.
        rule: a rule or its spec, bound to the network here.
        optimizer: any ``torch.optim`` optimizer over ``network.parameters()``; weights that require no gradient do not
            learn and may be missing. Plastic feedback is added to the
            parameter group of the weights beside it, so that both have the same learning rate and decay.
        loss: a spec such as ``"cross_entropy"``, ``"bce"`` or ``"mse"``, or a :class:`~neurofa.core.loss.Loss`.
        seed: of feedback, dropout, device noise and rounding.
        accumulate: batches whose directions are averaged into one update.
        clip: largest norm of all directions together, or None.
        fused: compile the writes of devices, and products on arrays, into single kernels
            (:meth:`~neurofa.core.network.Network.fuse`).
        feedback_seed: of the feedback alone, so that networks with different seeds can share it; None: ``seed``.
        recompute: whether blocks of foreign modules keep their input alone and compute again when they learn, one
            after the other: the memory of one graph instead of all, for one more forward pass. Direct rules only.
        feedback_scale: size of the errors that a direct pathway delivers where it names none by itself: ``backprop``,
            as large as those of backpropagation at initialisation (:mod:`neurofa.core.error_sizes`), or ``fixed``,
            1/sqrt(3) of the output error at every layer.

    Plain SGD (no momentum, no clipping, no accumulation) needs no ``.grad``: each direction is accumulated directly in
    its weight, by one fused product, or requested from its device. All other cases use ``.grad`` and
    ``optimizer.step()``.

    Raises:
        NeurofaError: the rule does not support a layer, or an option is out of range.
    """

    def __init__(
        self,
        network: Network,
        rule: Rule | str,
        *,
        optimizer: torch.optim.Optimizer,
        loss: Loss | str = "cross_entropy",
        seed: int = 0,
        accumulate: int = 1,
        clip: float | None = None,
        fused: bool = False,
        feedback_seed: int | None = None,
        recompute: bool = False,
        feedback_scale: str = "backprop",
    ) -> None:
        if accumulate < 1 or (clip is not None and clip <= 0):
            raise NeurofaError(f"got accumulate={accumulate}, clip={clip}; expected positive numbers; change them")
        if not isinstance(network, Network):
            raise NeurofaError(
                f"got a {type(network).__name__} for a network; expected a neurofa Network; make one with"
                " from_module(model, example_input), or of layers such as neurofa.layers.Block(module)"
            )
        self.network = network
        self.rule: Rule = build("rule", rule)
        if recompute and self.rule.declares.chained:
            raise NeurofaError(
                f"got recompute for rule '{self.rule.name}', whose errors go from layer to layer; expected a direct"
                " rule such as dfa; leave recompute out"
            )
        self.recompute = recompute
        self.loss: Loss = build("loss", loss)
        self.gen = generator(seed, "learner", device=next(network.parameters()).device)
        scale, declares = self.rule.feedback.scale or check_scale("feedback", feedback_scale), self.rule.declares
        plan = network.plan(chained=declares.chained, sized=declares.direct and scale != "fixed")
        bind_rule(self.rule, plan, generator(seed if feedback_seed is None else feedback_seed, "feedback"))
        pathways = [(name, part) for name, part in self.rule.named_modules() if isinstance(part, Synapses)]
        for name, part in pathways:
            warn_of_clipping({f"feedback '{name}'": part.clipped}, str(part.device))
        network.fuse(fused)
        for part in self.rule.modules():
            if isinstance(part, Synapses):
                part.fused = fused and not part.exact
        self.updater = Updater(network, self.rule, optimizer, self.gen, clip, accumulate)
        self.updater.check_factored(network, self.rule, direct=self.direct)
        self._calibrator: Rule | None = None
        self.watch: Emit | None = None
        """Called with the directions of every layer before they are written; None: no observer."""
        self.steps = 0
        like = next(network.parameters())
        self.defers = like.device.type != "cpu"
        """Whether only :meth:`check` finds numbers that are not finite, since a step would wait for an accelerator."""
        self._seen = like.detach().new_zeros(())

    def __repr__(self) -> str:
        return learner_summary(self.network, self.rule, self.optimizer, self.loss)

    @torch.no_grad()
    def step(self, x: Tensor, target: Tensor, weight: Tensor | None = None) -> StepResult:
        """Learn from one batch.

        With weights s the loss is the weighted mean of the samples' losses, sum_i s_i L_i / sum_i s_i (times the
        weights of classes, where the loss has them), and the directions are those of this mean: twice the weight of
        all samples changes nothing, a weight of 0 leaves a sample out.

        Args:
            x: (B, *input_shape).
            target: (B,) labels or (B, o) values; (B, S) or (B, S, o) where the network answers at S positions.
            weight: (B,) weights of the samples, or (B, S) of the positions, 0 or more; None: 1 each.

        Returns:
            Loss and outputs before the update.

        Raises:
            NeurofaError: wrong types, shapes or labels; NaN or infinity in input or loss, before any weight changes, or
                in the directions of a layer, before its weights change (the layer is named). On an accelerator this is
                found by :meth:`check`.
        """
        self._check_call(target, weight)
        network, rule = self.network, self.acting_rule()
        returns, graphs = self.return_weights_of(rule), not self.recompute
        tick = forward_pass(network, x, gen=self.gen, return_weights=returns, graphs=graphs)
        loss, teaching = loss_and_teaching(self.loss, tick.y, target, weight)
        sizes: Sizes = {}
        if not self._finite(loss.value, x, sizes):
            explain_loss(network, loss.value, x, self.steps, self.gen)
        if network.training:
            update_running_stats(network, tick)
        self._assign_and_write(rule, tick, teaching, len(loss.error), tick.views, sizes, writes=True)
        self.steps += 1
        return StepResult(loss.value, tick.y)

    def stream(
        self,
        xs: Tensor | Events,
        targets: Tensor,
        *,
        chunk: int | None = None,
        update: str = "end",
        teach: tuple[int, int] | None = None,
        binary: bool = False,
    ) -> StepResult:
        """Learn from one batch of sequences, in memory that does not grow with their length.

        Args:
            xs: (T, B, *input_shape), time first, or event-sparse input; dense vectors with few spikes are converted to
                events, chunk by chunk (:func:`neurofa.core.event_rows.event_rows`).
            targets: (B,) labels or (B, o) values of the whole sequence, or (T, B, o) values of every tick.
            chunk: K, ticks that are processed together: memory depends on K, not on T; 1 is purely online. None: 100,
                or more where every weight has a trace of its own and memory allows
                (:func:`neurofa.training.chunk_size.chunk_size`); all ticks for a loss of the whole sequence (``rate``).
            update: time of the weight change: after the last tick (``end``: the directions do not depend on ``chunk``),
                after every ``chunk``, or after every ``tick`` (chunks of one tick).
            teach: first taught tick, and the one after the last; None: all. The loss is the mean over these ticks.
            binary: refuse inputs other than 0 and 1.

        Returns:
            Mean loss over samples and taught ticks, and the mean output at these ticks, (B, o), before each update.

        Raises:
            NeurofaError: wrong shapes, a rule that does not support sequences, NaN or infinity, as for :meth:`step`.
        """
        if (chunk is not None and chunk < 1) or update not in UPDATES:
            raise NeurofaError(
                f"got chunk={chunk}, update='{update}'; expected at least 1 tick, and {', '.join(UPDATES)}; change them"
            )
        self._check_call(targets)
        schedule = target_schedule(self.network, xs, targets, teach, binary=binary, whole=self.loss.whole)
        if self.rule.declares.sequences.through_time:
            self.updater.refuse_factored("directions that are sums over all ticks", "use dfa or another device")
            loss, y, directions = learn_through_time(self.network, self.loss, xs, schedule, self.gen)
            if not self._finite(loss):
                refuse_loss(loss, self.steps)
            through_time = _Update(self, self.rule, schedule.batch, {})
            try:
                for name, own in directions.items():
                    through_time.layer(name, self.network.layer(name), own, {})
                through_time.finish()
            except BaseException:
                through_time.forget()
                raise
            result = StepResult(loss, y)
        else:
            size = 1 if update == "tick" else chunk
            if self.loss.whole:
                size = whole_sequence(self.loss, xs.shape[0], size, update)
            elif size is None:
                at_end = update == "end"
                size = chunk_size(self.network, self.rule, xs.shape[0], schedule.batch) if at_end else CHUNK
            result = self._online(xs, schedule, size, at_end=update == "end")
        self.steps += 1
        return result

    def _online(self, xs: Tensor | Events, schedule: TargetSchedule, size: int, *, at_end: bool) -> StepResult:
        """Learn from a sequence chunk by chunk, forwards in time; return mean loss and mean output.

        Args:
            xs: (T, B, *input_shape) or events.
            schedule: targets and taught ticks.
            size: K, ticks of a chunk.
            at_end: whether weights change after the last tick only.
        """
        network, ticks = self.network, xs.shape[0]
        check_sequence_rule(self.rule)
        check_sequence_traces(network, self.rule, kept=size < ticks)
        gathering = at_end and size < ticks
        if gathering:
            self.updater.refuse_factored("an update of several chunks together", "use update=chunk, or longer chunks")
        rule = self.acting_rule()
        course = SequenceUpdate(rule, schedule.batch, schedule.share, filter_decay(network, rule), writes=not gathering)
        like = next(network.parameters())
        loss, y = like.new_zeros(()), like.new_zeros(schedule.batch, network.outputs)
        states: Mapping[str, State] = initial_states(network, schedule.batch)
        with self.updater.gathering(direct=self.direct) if gathering else nullcontext():
            for first, length, x in chunks(network, xs, size):
                span = ChunkSpan(first, length, schedule.at(first, length), last=first + length == ticks)
                states, result = self.chunk(x, states, course, span)
                if result is not None:
                    loss += result.loss
                    y += result.y
        return StepResult(loss, y)

    @torch.no_grad()
    def chunk(
        self, x: Tensor, states: Mapping[str, State], course: SequenceUpdate, span: ChunkSpan
    ) -> tuple[dict[str, State], StepResult | None]:
        """Learn from one chunk of ticks; its memory is released before the next chunk.

        Args:
            x: (K B, *input_shape), tick by tick.
            states: of the layers with a memory, with traces.
            course: settings of all chunks of the sequence.
            span: ticks and targets of this chunk.

        Returns:
            States for the next chunk; contributions to loss and mean output, None if no tick is taught.

        Raises:
            NeurofaError: input, potentials or loss that are not finite, before any weight changes in this chunk.
        """
        network, rule = self.network, course.rule
        returns = self.return_weights_of(rule)
        tick = forward_pass(
            network, x, gen=self.gen, return_weights=returns, states=states, ticks=span.ticks, kappa=course.kappa
        )
        if not _finite_memory(tick.states):
            explain_memory(tick.states, span.first, span.ticks)
        sizes: Sizes = {}
        if not self._finite(x=x, sizes=sizes):
            refuse_input(network)
        loss = None
        if span.taught is not None:
            rows, target = span.taught
            loss = self._loss_of_ticks(tick.y[rows], target[rows], course.batch)
            if not self._finite(loss.value):
                refuse_loss(loss.value, self.steps)
        if network.training:
            update_running_stats(network, tick)
        views = dict(tick.views)
        # before the update, so that unsupported traces are refused while no weight has changed
        carried = {}
        if not span.last:
            carried = {
                name: tick.states[name] | kept_traces(rule, name, layer, views[name], readout=name == network.readout)
                for name, layer in network.chain
                if isinstance(layer, Temporal)
            }
        if loss is None:
            return carried, None
        batch, share = course.batch, course.share
        value = loss.value * (share * ((rows.stop - rows.start) // batch))
        teaching = self._chunk_teaching(loss, tick.y, rows, target, course)
        self._assign_and_write(rule, tick, teaching, batch, views, sizes, writes=course.writes)
        return carried, StepResult(value, as_ticks(tick.y[rows], batch).sum(0).mul_(share))

    def _loss_of_ticks(self, y: Tensor, target: Tensor, batch: int) -> LossResult:
        """Return the loss of the taught rows of a chunk: their mean, or that of all ticks together."""
        return self.loss.of_ticks(y, target, batch) if self.loss.whole else self.loss.evaluate(y, target)

    def _chunk_teaching(
        self, loss: LossResult, y: Tensor, rows: slice, target: Tensor, course: SequenceUpdate
    ) -> Teaching:
        """Return the teaching of a chunk: errors and targets of all rows, weighted by their share of the sequence.

        Args:
            loss: of the taught rows.
            y: (K B, o) outputs of all rows.
            rows: taught rows.
            target: targets of all rows, (K B,) or (K B, o).
            course: with B, and the weight of one tick's loss.
        """
        share, batch = course.share, course.batch

        def of_all_rows(part: Tensor) -> Tensor:
            if len(part) == len(y):
                return part * share  # not in place: targets are the caller's
            padded = torch.zeros_like(y)
            padded[rows] = part
            return padded.mul_(share)

        def error_for(other: Tensor) -> Tensor:
            return of_all_rows(self._loss_of_ticks(other[rows], target[rows], batch).error)

        return Teaching(of_all_rows(loss.error), of_all_rows(loss.target), error_for=error_for)

    def _assign_and_write(
        self,
        rule: Rule,
        tick: Tick,
        teaching: Teaching,
        batch: int,
        kept: Mapping[str, LocalView],
        sizes: Sizes,
        *,
        writes: bool,
    ) -> None:
        """Make the extra passes of the rule, run the backward phase, and update the weights.

        Args:
            rule: the rule of this step.
            tick: of the step; its views are released one by one.
            teaching: error and target.
            batch: samples over which directions are summed; positions of samples, if the network answers at each.
            kept: views for a noise pass after the update.
            sizes: norm of the input, if it is known.
            writes: whether the update is completed here.
        """
        declares = rule.declares
        if declares.second_pass is not None or declares.probing is not None:
            tick = make_extra_passes(self.network, rule, tick, teaching, self.gen)
        mirroring = declares.mirroring
        if mirroring is not None and self.steps % mirroring.every:
            mirroring = None
        update = _Update(self, rule, batch, sizes)
        try:
            assign(self.network, rule, tick, teaching, update.emit, self.gen, release=mirroring is None)
            if writes:
                update.finish()
        except BaseException:
            update.forget()
            raise
        if mirroring is not None:
            noise_pass(self.network, mirroring, kept, self.gen)

    def _finite(self, loss: Tensor | None = None, x: Tensor | None = None, sizes: Sizes | None = None) -> bool:
        """Return whether loss and input are finite; on an accelerator remember them for :meth:`check`, and return True.

        Args:
            loss: 0-dim, or None.
            x: dense, ids of tokens, or rows of events, whose values are ones; or None.
            sizes: takes the norm of the input, which is a factor of the lowest layer's direction; given with ``x``.
        """
        if x is not None and (x.layout != torch.strided or not x.is_floating_point()):
            x = None
        if self.defers:
            for part in (loss, x):
                if part is not None:
                    self._seen.add_(vector_norm(part))
            return True
        if loss is not None and not math.isfinite(loss.item()):
            return False
        # finite numbers may have a norm that is not
        return x is None or math.isfinite(_size(x, {} if sizes is None else sizes)) or bool(x.isfinite().all())

    def remember(self, direction: Direction) -> None:
        """Add the size of a direction to what :meth:`check` looks at; that of a vector follows from the others."""
        for part in direction.parts if isinstance(direction, Sum) else (direction,):
            size = part.left if isinstance(part, Outer) else part.values if isinstance(part, RowSums) else part
            if size.dim() > 1:
                self._seen.add_(vector_norm(size))

    def check(self) -> None:
        """Wait for the compute device, and refuse numbers that were not finite in any step since the last call.

        Raises:
            NeurofaError: an input, a loss or a direction was not finite; weights may have taken part of it.
        """
        if self.defers and not math.isfinite(self._seen.item()):
            refuse_later(self.steps)
        self._seen.zero_()

    def _check_call(self, target: Tensor, weight: Tensor | None = None) -> None:
        """Refuse targets or weights that are no tensor, and autocast, which would change the numbers inside a step."""
        for what, given in (("targets", target), ("weights", weight)):
            if not isinstance(given, Tensor) and given is not None:
                raise NeurofaError(
                    f"got {what} of type {type(given).__name__}; expected a torch tensor; convert them with"
                    f" torch.as_tensor({what})"
                )
        if target is None:
            raise NeurofaError("got no targets; expected a torch tensor; give labels (B,) or values (B, o)")
        if torch.is_autocast_enabled(self._seen.device.type):
            raise NeurofaError(
                "got a step inside torch.autocast; expected products in the number format of the weights; leave the"
                " autocast region, and choose the format with network.to(dtype)"
            )

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer; it belongs to the learner, whose directions it takes: another one needs a new learner."""
        return self.updater.optimizer

    @property
    def clip(self) -> float | None:
        """Largest norm of all directions together; None: any."""
        return self.updater.clip

    @clip.setter
    def clip(self, value: float | None) -> None:
        self.updater.clip = value

    @property
    def accumulate(self) -> int:
        """Batches whose directions are averaged into one update."""
        return self.updater.accumulate

    @accumulate.setter
    def accumulate(self, value: int) -> None:
        self.updater.accumulate = value

    @property
    def direct(self) -> bool:
        """Whether directions are written without ``.grad``: each update is w <- w - lr (g + decay w), plain SGD."""
        if self.updater.gathers or self.clip is not None or self.accumulate > 1:
            return False
        plain = type(self.optimizer) is torch.optim.SGD and not self.optimizer._optimizer_step_pre_hooks
        return plain and not any(g["momentum"] or g["nesterov"] or g["maximize"] for g in self.optimizer.param_groups)

    def acting_rule(self) -> Rule:
        """Return the rule of this step: the learner's own, or backpropagation in a calibration step."""
        every = self.rule.declares.calibrate
        if not every or (self.steps + 1) % every:
            return self.rule
        if self._calibrator is None:
            self._calibrator = build("rule", "bp")
            self._calibrator.bind(self.network.plan(chained=True, sized=False), generator(0, "calibration"))
        return self._calibrator

    def return_weights_of(self, rule: Rule) -> ReturnWeightsOf | None:
        """Return the function from a layer's name and weights to its return weights; None: no return path."""
        path = rule.declares.return_path
        return None if path is None else lambda name, params: path.return_weights(name, params, self.gen)

    @torch.no_grad()
    def evaluate(
        self,
        x: Tensor | Events,
        *,
        batch_first: bool = False,
        every_tick: bool = False,
        teach: tuple[int, int] | None = None,
        chunk: int | None = None,
    ) -> Tensor:
        """Return the network's outputs in evaluation mode; the mode is restored.

        Args:
            x: (B, *input_shape), or sequences (T, B, *input_shape) or events.
            batch_first: whether sequences come as (B, T, *input_shape).
            every_tick: whether the outputs of all ticks are returned, (T, B, o) or (B, T, o).
            teach: first tick of the mean, and the one after the last; None: all.
            chunk: ticks of a sequence that are computed at once; None: as many as memory allows.

        Returns:
            (B, o); of sequences the mean over ticks.

        Raises:
            NeurofaError: wrong shapes or dtype.
        """
        network = self.network
        with evaluating(network):
            if isinstance(x, Tensor) and x.dim() != len(network.input_shape) + 2:
                y: Tensor = network(x, self.gen)
                return y
            xs = x.transpose(0, 1) if batch_first and isinstance(x, Tensor) else x
            size = chunk or memory_chunk(network, *xs.shape[:2])
            ys = outputs_of_ticks(responses(forward_pass, network, xs, chunk=size, gen=self.gen), xs.shape[1])
        if every_tick:
            return ys.transpose(0, 1) if batch_first else ys
        return ys[slice(*taught_ticks(teach, len(ys)))].mean(0)

    @torch.no_grad()
    def grade(
        self,
        x: Tensor | Events,
        target: Tensor,
        *,
        teach: tuple[int, int] | None = None,
        chunk: int | None = None,
        gen: torch.Generator | None = None,
    ) -> Graded:
        """Return loss and outputs in evaluation mode, without learning; the mode is restored.

        Args:
            x: as for :meth:`step` or :meth:`stream`; sequences have an axis of time, (T, B, *input_shape).
            target: as for :meth:`step` or :meth:`stream`.
            teach: taught ticks of sequences; None: all.
            chunk: ticks of a sequence that are computed at once; None: as many as memory allows.
            gen: source of read noise; None: that of the learner.

        Raises:
            NeurofaError: wrong shapes, dtypes or labels.
        """
        network, gen = self.network, self.gen if gen is None else gen
        with evaluating(network):
            if isinstance(x, Tensor) and x.dim() != len(network.input_shape) + 2:
                y = network(x, gen)
                result = loss_and_teaching(self.loss, y, target)[0]
                return Graded(result.value, y, result.mass)
            schedule = target_schedule(network, x, target, teach, whole=self.loss.whole)
            size = chunk or memory_chunk(network, x.shape[0], schedule.batch)
            parts = responses(forward_pass, network, x, chunk=size, gen=gen)
            return Graded(*loss_of_sequence(parts, self.loss, schedule, next(network.parameters())), None)

    fit = fit


class _Update:
    """One update of the weights: directly from the directions, or through the optimizer's ``.grad``.

    Args:
        learner: the learner.
        rule: the rule of this step.
        batch: samples over which directions are summed.
        sizes: norm of the input, if it is known.
    """

    def __init__(self, learner: Learner, rule: Rule, batch: int, sizes: Sizes) -> None:
        self.learner, self.rule, self.batch, self.sizes = learner, rule, batch, sizes
        plastic = rule.declares.plastic
        self.plastic, self.decay = plastic, 0.0 if plastic is None else plastic.decay
        self.direct = learner.direct
        self.touched: dict[Synapses, None] = {}
        """Synapses with a request that their device has not realised yet."""

    def forget(self) -> None:
        """Drop what is requested but not written yet, after an error, so that no later update contains it."""
        for synapses in self.touched:
            synapses.forget()
        self.learner.updater.forget()

    def emit(self, name: str, layer: Layer, view: LocalView, directions: Directions) -> None:
        """Apply the directions of one layer, and those of the plastic pathway weights beside it.

        Args:
            name: the layer's name.
            layer: the layer.
            view: of the layer, with its error.
            directions: of its weights, summed over the batch.
        """
        if self.learner.watch is not None:
            self.learner.watch(name, layer, view, directions)
        # before the weights change: adapt may read them
        beside = self.rule.adapt(name, view, directions)
        sizes = self.sizes.copy()  # the layer's own factors are let go with it, the input with the step
        if beside:
            self._look(name, beside, sizes)
        self.layer(name, layer, directions, sizes)
        if beside and self.plastic is not None:
            targets = self.plastic.plastic(name)
            for key, direction in beside.items():
                target = targets[key]
                if target.own_step:
                    target.synapses.descend(direction, 1.0, rows=target.rows)
                    self.touched[target.synapses] = None
                else:
                    self._write(target.synapses, target.rows, direction, self.decay)

    def _look(self, name: str, directions: Directions, sizes: Sizes) -> None:
        """Refuse directions that are not finite; on an accelerator remember their size for :meth:`Learner.check`."""
        if self.learner.defers:
            for direction in directions.values():
                self.learner.remember(direction)
            return
        for key, direction in directions.items():
            if not finite_direction(direction, sizes):
                refuse_directions(name, key, self.learner.steps)

    def layer(self, name: str, layer: Layer, directions: Directions, sizes: Sizes) -> None:
        """Apply the directions of one layer's weights, if all of them are finite.

        Args:
            name: the layer's name.
            layer: the layer.
            directions: of its weights, summed over the batch.
            sizes: norms of factors that are known.
        """
        self._look(name, directions, sizes)
        decays = layer.traits.returning if self.decay else ()
        for key, direction in directions.items():
            self._write(layer.synapses[key], None, direction, self.decay if key in decays else 0.0)

    def _write(self, synapses: Synapses, rows: slice | None, direction: Direction, decay: float) -> None:
        if not synapses.weight.requires_grad:
            return  # frozen by the user
        updater = self.learner.updater
        if not self.direct:
            part = (synapses, 0 if rows is None else rows.start)
            fresh = part not in updater.filled
            updater.filled[part] = None
            scale = 1.0 / (self.batch * self.learner.accumulate)
            synapses.add_gradient(direction, scale, fresh=fresh, decay=decay, rows=rows)
            return
        index = updater.group_of.get(synapses.weight)
        group = updater.group(synapses) if index is None else self.learner.optimizer.param_groups[index]
        lr = group["lr"]
        synapses.descend(direction, lr / self.batch, shrink=lr * (decay + group["weight_decay"]), rows=rows)
        if not synapses.exact:
            self.touched[synapses] = None

    def finish(self) -> None:
        """Complete the update: devices realise the requested changes."""
        for synapses in self.touched:
            synapses.realise(self.learner.gen)
        if not self.direct:
            self.learner.updater.finish()
            return
        for weight in self.learner.updater.weights:
            if weight.grad is not None:
                weight.grad = None  # left by another optimizer or a backward pass
        self.learner.optimizer.step()  # every .grad is None: only counts the step, for schedulers and hooks


def finite_direction(direction: Direction, sizes: Sizes) -> bool:
    """Return whether no entry of a direction is NaN, infinite or beyond its number format, without multiplying factors.

    By Cauchy and Schwarz no entry of left^T right exceeds the product of the two norms.

    Args:
        direction: of one weight.
        sizes: norms of factors that are known, by ``id``; those computed here are added.
    """
    if isinstance(direction, Outer):
        left, right = direction
        # the values of rows of events are ones
        others = len(left) ** 0.5 if right.layout == torch.sparse_csr else _size(right, sizes)
        return _size(left, sizes) * others <= torch.finfo(left.dtype).max
    if isinstance(direction, Tensor):
        return math.isfinite(vector_norm(direction).item()) or bool(direction.isfinite().all())
    if isinstance(direction, RowSums):
        return finite_direction(direction.values, sizes)
    return all(finite_direction(part, sizes) for part in direction.parts)


def _size(x: Tensor, sizes: Sizes) -> float:
    """Return the norm of a tensor, from ``sizes`` or computed and added to it."""
    known = sizes.get(id(x))
    if known is None:
        known = sizes[id(x)] = x, vector_norm(x).item()
    return known[1]


def kept_traces(rule: Rule, name: str, layer: Temporal, view: LocalView, *, readout: bool) -> State:
    """Return the traces of one layer after a chunk, for the next chunk.

    Args:
        rule: its own traces, if any, replace those of the neurons.
        name: the layer's name.
        layer: the layer.
        view: of the chunk.
        readout: whether the layer is the readout, whose traces are always those of its neurons.
    """
    declares = rule.declares
    if not readout and not declares.sequences.remembers:
        return {}
    if readout or declares.eligibility is None:
        return carry_traces(layer, view)
    own = declares.eligibility
    return carry_traces(layer, view, own.dynamics(name, layer, view)) | own.carried(name, layer, view)


def _finite_memory(states: Mapping[str, State]) -> bool:
    """Return whether all potentials on the CPU are finite; on an accelerator a check would synchronise."""
    values = (value for state in states.values() for value in state.values() if value.device.type == "cpu")
    return all(bool(value.sum().isfinite()) for value in values)
