"""Networks and feedback pathways written to files that other tools and chips read."""
