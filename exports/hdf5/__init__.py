"""HDF5: one file with everything that must be programmed, and with vectors to check a chip against."""
