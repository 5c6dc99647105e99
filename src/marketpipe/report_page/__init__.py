"""The report page: one HTML file that shows a store, and the same page served live on loopback. See ADR 0039.

    facts.py            what the page shows, as records and columns: never a Python object for each bar
    measures.py         volume and official days of each symbol-day, collected while coverage is assessed
    embedded_days.py    the bars that are inside the file: which symbol-days, and how they are packed
    payload.py          the facts as JSON and packed columns, as the script reads them
    page.py             the template, the chart library, and the finished page
    server.py           the server on loopback
    templates/, assets/ HTML, styles and scripts of the page

Nothing here reads a store: ``reporting.py`` collects the facts. Needs the extra ``report`` (Jinja2 and plotly).
"""
