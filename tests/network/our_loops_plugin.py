"""A pytest plugin that installs our association loops: pynetdicom's own tests then run with them."""

import signal

from voxtell_dicom.network import association_loops

signal.signal(signal.SIGINT, signal.default_int_handler)  # one test sends it, and a background job would ignore it
assert association_loops.install()
