"""`python -m portero` is `portero`."""

from portero.cli import main

if __name__ == "__main__":
    main()
