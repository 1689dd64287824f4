"""The command `hamp`."""

import sys

from hamp.errors import UserError


def main() -> None:
    """Run the command; a user's mistake ends it with its lines and exit status 1."""
    from typer.exceptions import Abort, TyperException
    from typer.main import get_command

    from hamp.cli.app import app

    try:
        status = get_command(app).main(sys.argv[1:] or ["--help"], prog_name="hamp", standalone_mode=False)
    except UserError as error:
        _end(str(error))
    except TyperException as error:
        _end(error.format_message() if hasattr(error, "format_message") else str(error))
    except Abort:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        sys.stderr.close()
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def _end(words: str) -> None:
    print(f"error: {words}", file=sys.stderr)
    sys.exit(1)
