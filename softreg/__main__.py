"""The command line: ``python -m softreg fit table.csv --target column --report report.html``."""

import sys

from softreg.report.command_line import main

if __name__ == "__main__":
    sys.exit(main())
