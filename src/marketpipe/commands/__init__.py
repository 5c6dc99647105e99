"""The commands of the command line: each parses its options, calls the library and prints the result.

    ingestion.py        what asks a provider and writes bars: plan, ingest, update, audit, aggregate
    own_bars.py         what brings a user's own bars in, and takes symbols out: import, sample, drop
    checking.py         what checks a store: coverage, verify, recover, freeze, validate
    reading.py          what shows a store: query, export, status, metrics
    upkeep.py           what a bucket needs: gc, publish-delta
    setup.py            what a store is set up with: providers, init, config, plugin
    options.py          the options that commands share
    general_options.py  the options that every command has
    help_layout.py      sections and examples in the help

``marketpipe.cli`` lists them. ``marketpipe --help`` imports all of these modules and has to start quickly: a command
imports what it needs inside its function, and all that is printed is written by the modules of ``marketpipe.terminal``.
"""
