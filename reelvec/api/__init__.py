"""What `import reelvec` offers: a store, its runs, their tables, frames and models. Reads only."""
