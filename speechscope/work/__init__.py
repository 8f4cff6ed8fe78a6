"""Work in tasks of whole chunks: here, in processes, under Dask."""
