"""What the frozen executable runs."""

from edge.cli.main import main

main()
