"""What everything may use and that knows nothing of networks: errors, files, locks, catalogues, choices."""
