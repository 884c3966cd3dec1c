"""The command line: ``python -m softreg fit table.csv --target column --report report.html``."""

import sys

if __name__ == "__main__":
    try:
        from softreg.report.command_line import main

        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.reconfigure(errors="backslashreplace")  # letters that a terminal has not
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)  # as shells count programs that Ctrl-C has ended
