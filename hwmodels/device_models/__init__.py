"""Models that several devices share: pulsed and programmed memories, pulse trains."""
