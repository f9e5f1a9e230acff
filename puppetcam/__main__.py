"""``python -m puppetcam``."""

from puppetcam.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
