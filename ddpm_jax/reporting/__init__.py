"""What many runs say together: their figures in groups, tables, plots, and one page. Imports no JAX."""
