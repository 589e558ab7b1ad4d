"""Validation: is the target what the source is, in every respect, and where not?

sides        a pair: how both sides are opened, whose bytes are read, which database is asked
validation   the verb: resumable, and patient with what is alive
ending       the end of every copy: what passed by is not read again
parts        what both of these do
validator    goes through two lists, in batches; ``crew`` has workers for them, ``measure`` is what a worker does
differences  how differences are classed, and told from a source that moved
queries      real questions, in SQL (``model.answers`` answers them for files)
strays       what no tree should hold: rows of no file, entries by a wrong name
looks        another look at what may be on its way
memory       what an interrupted validation found, and up to where that is still true
verdict      what it comes to; ``telling`` says how far it is
repair       makes the side that is not the authority what the other one is
"""
