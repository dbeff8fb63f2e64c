"""The neutral graph between networks and file formats: nodes, pathways, arrays with units."""
