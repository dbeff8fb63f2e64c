"""What theory says before anything is trained."""
