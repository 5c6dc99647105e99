"""Make the table of the exchange's sessions that ships with the package: a step of a release, see docs/releasing.md.

    python .ci/make_session_table.py        # with the newest exchange_calendars installed

A test compares the table with the library, so this is needed when that test fails, after an upgrade of the library.
"""

from __future__ import annotations

import sys

from marketpipe.shared_kernel.infrastructure.exchange_calendar import library_table
from marketpipe.shared_kernel.infrastructure.session_table import LAST_SHIPPED_YEAR, SHIPPED, installed_rules, title


def main() -> None:
    rules = installed_rules(sys.path)
    if rules is None:
        raise SystemExit("exchange_calendars is not in a folder of sys.path: install it as usual, then run this again")
    content = library_table(LAST_SHIPPED_YEAR).encode(title(rules))
    changed = not SHIPPED.is_file() or SHIPPED.read_bytes() != content
    SHIPPED.write_bytes(content)
    print(f"{SHIPPED}: {len(content):,} bytes, {'written anew' if changed else 'unchanged'}")  # noqa: T201


if __name__ == "__main__":
    main()
