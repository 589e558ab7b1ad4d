"""Where ``crossfade`` and ``python -m crossfade`` begin.

Worker processes import this module again, so it imports nothing until it is called: a worker needs no command line.
"""


def main() -> None:
    """Run the command line."""
    from crossfade.console.main import run  # noqa: PLC0415 - see above

    run()


if __name__ == "__main__":
    main()
