"""What a function finds in a process of its own: its memory and its imports are nobody else's."""

import multiprocessing
import sys


def found_apart(function, *arguments, how="spawn"):
    """What `function(*arguments)` returns there; ends this program where that process has died."""
    context = multiprocessing.get_context(how)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, function, arguments))
    process.start()
    sender.close()  # the process has the only other end: where it is gone, nothing comes
    try:
        found = receiver.recv()
    except EOFError:
        process.join()
        sys.exit(f"{function.__name__}{arguments}: its process ended with code {process.exitcode}")
    process.join()
    return found


def _send(sender, function, arguments):
    sender.send(function(*arguments))
