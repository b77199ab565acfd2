"""The studio: a local page in which samplers are compared, read, swept and drawn while they work.

The logic (:mod:`.state`, :mod:`.chain`, :mod:`.controls`, :mod:`.comparing`, :mod:`.reading`,
:mod:`.sweeping`, :mod:`.scenes`) knows nothing of the page; :mod:`.page` builds it with Gradio, and
:mod:`.server` serves it.
"""
