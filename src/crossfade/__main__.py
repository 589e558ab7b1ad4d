"""``python -m crossfade``."""

from crossfade.console.main import run

if __name__ == "__main__":
    run()
