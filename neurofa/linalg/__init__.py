"""Spectra and factorisations of matrices."""
