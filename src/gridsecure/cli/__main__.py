"""`python -m gridsecure.cli`, the same as the installed `gridsecure` command."""

from gridsecure.cli.main import main

main()
