"""Costs of a network and its learning rule: operations, memory, energy, writes and errors of hardware.

One function answers each question:

- FLOP of a training step, by phase and layer: :func:`neurofa.costs.flops.step_flops`, a ``StepFlops``.
- Bytes that a training step holds: :func:`neurofa.costs.memory.step_memory`.
- Counts, energy, time and wear of an update: :func:`neurofa.costs.energy.update_costs`, a report of ``CostLine``.
- Writes to memory devices: :func:`neurofa.costs.writes.write_counts` since the weights were programmed
  (``WriteCount``), :func:`~neurofa.costs.writes.writes_per_update` of some updates (``UpdateWrites``), and
  :func:`~neurofa.costs.writes.write_summary` over all weights (``WriteSummary``).
- Operations, sparsities and bytes of inference, as NeuroBench counts them:
  :class:`neurofa.costs.neurobench.WorkloadMeter`.
- Operations, traces and energy of online learning: :func:`neurofa.costs.learning.learning_operations`,
  :func:`~neurofa.costs.learning.trace_storage`, :func:`~neurofa.costs.learning.run_energies`.
- Alignment that errors of the feedback hardware cost: :mod:`neurofa.costs.error_budget`.
"""
