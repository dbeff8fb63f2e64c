"""Models of other libraries, taken over and given back: torch and snnTorch."""
