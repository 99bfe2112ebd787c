"""`python -m apps.cli`, the same as the installed `gridsecure` command."""

from apps.cli.main import main

main()
