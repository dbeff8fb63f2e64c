"""Pictures: one grammar of panels and marks, one function that draws them, and functions from results to panels."""
