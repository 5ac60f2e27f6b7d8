"""The words of the command line, by what a person wants: run, look, keep."""
