"""What several rules of one family share."""
