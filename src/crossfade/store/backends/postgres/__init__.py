"""PostgreSQL: a schema that holds trees of files, verbatim, beside columns to query them by.

``server`` connects, ``schema`` keeps the tables, ``encode`` turns records into COPY rows, ``reading`` turns rows back into
bytes, ``store`` is the port, ``ledger`` keeps control state: migrations, leases, marks, journal, quarantine.
"""
