"""The configs, one file a method, shipped with the package."""
