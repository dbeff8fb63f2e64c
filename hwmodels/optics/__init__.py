"""Optical components: meshes, cameras, detection, noise of light."""
