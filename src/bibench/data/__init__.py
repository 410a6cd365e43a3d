"""Reading, caching and augmenting data; one file per modality."""
