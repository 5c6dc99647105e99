"""The text of a new configuration file: what was chosen, read copies, and every other key with its default.

An upgrade must not double the disk of a store, so the default of read copies is none; a new store may have them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from string import Template

from marketpipe.config.file import USUAL_FILE

_TEXT = """\
# What MarketPipe keeps complete, and where.
#   marketpipe config show$named    shows what is in force, and where each value comes from
#   marketpipe plan$named           shows what an ingestion would request
# 'marketpipe providers' lists all providers. alpaca needs ALPACA_KEY and ALPACA_SECRET, in the environment or in .env.
provider: $provider
symbols: $symbols    # or "@universe.txt", a file with one a line
start: $start    # trading dates (New York), both inclusive
end: $end    # latest: the newest final session
# Minutes a second time, to load them faster. parquet: 4 to 10 times, 3 to 8 MB a symbol and year. arrow: 10 to 50
# times, 6 to 16 MB.
read_copies: parquet    # none | parquet | arrow

# Every key below has its default. To change one, remove the # before it, and before the name of its section.

#root: .                          # folder in which relative paths begin; . is the current folder
#session: extended                # extended: 04:00-20:00 New York time | regular: regular session and closing auction
#output_path: data                # or s3://bucket/prefix; the other areas of the store are beside it
#aggregates_path: aggregates
#quarantine_path: quarantine      # rejected bars, with their rule and reason
#revisions_path: revisions        # former versions of replaced day files
#official_path: official          # the exchange's official daily bars
#copies_path: copies              # read copies, which can be deleted at any time
#state_path: state/marketpipe.sqlite    # or postgresql://user@host/database, which several machines can share
#compression: zstd                # zstd | snappy
#workers: 4                       # batches at the same time
#executor: threads                # threads | processes: one process per worker | dask: the workers of a Dask cluster
#scheduler: null                  # address of Dask's scheduler, tls://host:8786; null: a cluster on this machine
#insecure_scheduler: false        # true: tcp:// beyond this machine, if MARKETPIPE_INSECURE_SCHEDULER names it too
#timeframes: [5m, 15m, 1h, 1d]    # aggregates that are kept in files; [] for none
#symbol_lists: {}                 # names for lists: {tech: [AAPL, MSFT], all: "@universe.txt"}
#alpaca:
#  feed: sip                      # sip: all US exchanges | iex: one exchange, 3.5 % of the volume | otc
#  adjustment: raw                # raw | split | dividend | spin-off | all
#  asof: "-"                      # "-": symbols as they were on each day | a date: the security that bore it then
#  base_url: https://data.alpaca.markets
#  rate_limit_per_min: 200        # 200 on the free plan, 10000 on the paid one
#synthetic:
#  seed: 7
#validation:
#  severities: {}                 # rule name: error | warning | off
#coverage:                        # when a symbol-day is suspect; minutes are of the regular session
#  hole_minutes: 30               # a silence counts from this length on
#  hole_bars: 15                  # if at least this many bars are usual in it
#  stop_minutes: 10               # the same for a silence until the close, or of the whole market
#  stop_bars: 9
#  habit_factor: 3                # a silence counts if longer than this factor times the usual longest one
#  neighbours: 10                 # number of sessions before and after that define what is usual
#  unlisted_sessions: 5           # this many silent sessions at an end of the range mean: not listed
#  confirmations: 2               # after this many equal answers in a row a suspect symbol-day is short
#calendar:
#  exceptions: []                 # {date: 2027-01-12, closed: true}, {date: 2026-11-27, closes: 13:00}
#  halts: []                      # {date: 2024-06-03, from: 09:50, to: 11:35, symbols: [BRK.A]}
#metrics:
#  enabled: false                 # serve Prometheus metrics during an ingestion
#  host: 127.0.0.1
#  port: 8000
#  store: null                    # what metrics call this store, such as us-equities; null: its path
#  textfile: null                 # after each run write the metrics here, for node_exporter: /…/marketpipe.prom
#  pushgateway: null              # after each run send the metrics there: http://127.0.0.1:9091
#  refresh_seconds: 60            # age at which 'marketpipe metrics --serve' measures the store again
#  max_lag_sessions: 1            # /readyz: how many final sessions a store that is ready may lack
#  max_missing: 0                 # /readyz: symbol-days of older sessions that may be missing; null: any number
#  max_suspect: null              # /readyz: symbol-days of older sessions that may be suspect
"""


def starter_text(name: str, provider: str, symbols: Sequence[str], start: str, end: str) -> str:
    """Return the text of a file that will be called ``name``. The values are not checked here.

    They are written between quotation marks where YAML could take them for something else.
    """
    named = "" if name == USUAL_FILE else f" --config {name}"
    listed = "[" + ", ".join(map(_quoted, symbols)) + "]"
    return Template(_TEXT).substitute(
        named=named, provider=_quoted(provider), symbols=listed, start=_quoted(start), end=_quoted(end)
    )


def _quoted(text: str) -> str:
    """Return text that YAML reads as this text: JSON strings are YAML strings."""
    plain = text.replace("-", "").replace("_", "")
    is_plain = plain.isascii() and plain.isalnum() and text.lower() not in ("true", "false", "null") and text[0] != "-"
    is_word = is_plain and (text[0].isalpha() or text.count("-") == 2)
    return text if is_word else json.dumps(text, ensure_ascii=False)
