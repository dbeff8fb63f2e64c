"""Import and export of models of other libraries: torch, snnTorch and NIR."""
