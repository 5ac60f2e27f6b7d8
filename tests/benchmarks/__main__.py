"""Every benchmark, or those named: ``python -m tests.benchmarks [NAME…]``.

A benchmark is a module of this package with a function ``main()`` that prints a table of ratios,
each against a named alternative measured in the same run. Absolute times are this machine's; only
ratios are to be quoted. Exit code 1 where one failed; the others still run.
"""

import importlib
import pkgutil
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).parent


def names():
    """Modules of this package that are benchmarks."""
    found = [module.name for module in pkgutil.iter_modules([str(HERE)])]
    return sorted(name for name in found if not name.startswith("_"))


def run(name):
    """Run one; whether it went well."""
    print(f"\n== {name}", flush=True)
    started = time.perf_counter()
    try:
        importlib.import_module(f"tests.benchmarks.{name}").main()
    except Exception:
        traceback.print_exc()
        return False
    print(f"-- {name}: {time.perf_counter() - started:.1f} s", flush=True)
    return True


def main(wanted):
    known = names()
    unknown = [name for name in wanted if name not in known]
    if unknown:
        print(f"no benchmark is called {unknown[0]}; there are: {', '.join(known) or 'none'}")
        return 2
    failed = [name for name in wanted or known if not run(name)]
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
