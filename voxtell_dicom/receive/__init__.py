"""Receive: from the network into the archive, and from there, series by series, to whoever works on them.

    archive = Archive(root, engine, config.receive, also=())  # also: SOP classes that a rule asks for
    completion = Completion(archive, config.receive, config.peers, enqueue, missing=…)
    scp = StorageScp(config, archive, completion)             # config.node, .receive and .peers
    completion.start(); scp.start(); …; scp.stop(); completion.stop(); archive.close()

`enqueue(connection, series)` enqueues within the transaction that records the version: once, or not at all.
`missing(series)` says why slices are missing ("" where none is). STOW-RS stores through `Intake.take`.
"""
