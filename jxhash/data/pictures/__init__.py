"""Pictures and their feature files: decoding, regions, storage."""
