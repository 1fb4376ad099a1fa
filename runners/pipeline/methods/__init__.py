"""The methods of the pipeline, one a file."""
