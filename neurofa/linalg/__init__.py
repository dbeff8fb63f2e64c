"""Linear algebra: measures of spectra, non-negative factors, convolutions as matrices."""
