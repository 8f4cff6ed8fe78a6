"""``python -m speechscope``."""

from speechscope.cli import main

if __name__ == "__main__":
    main()
