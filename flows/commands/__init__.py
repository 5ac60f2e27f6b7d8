"""The commands of `reelvec`, by what a person wants: run, look, keep."""
