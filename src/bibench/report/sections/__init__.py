"""What is special to the page of a track, one file each."""
