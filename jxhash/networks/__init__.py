"""Flax linen modules, used as pure `init` and `apply`, and the loader of pretrained weights."""
