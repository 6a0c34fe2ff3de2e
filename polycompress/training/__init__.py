"""The training engine: data, step, loop, optimisers, schedules, snapshots and metrics."""
