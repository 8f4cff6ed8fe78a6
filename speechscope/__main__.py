"""``python -m speechscope``, and the program itself."""

import signal

# While the program is imported an interrupt ends it, without a traceback; `cli.main` hears others.
signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    from speechscope import cli

    cli.main()


if __name__ == "__main__":
    main()
