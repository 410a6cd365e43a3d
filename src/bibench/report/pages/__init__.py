"""The pages of the report, one file each, or one for all pages of a kind."""
