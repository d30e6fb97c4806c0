"""From raw texts and pictures to what a network reads."""
