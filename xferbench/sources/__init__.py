"""Data sources: one module per upstream data set, each with a ``load`` that returns a ``SourceDataset``.

A source turns raw upstream records into frames and says what it left out. It knows the upstream units, signs and
spellings; nothing after it does. Add a module here and one line to ``registry.SOURCES``.
"""
