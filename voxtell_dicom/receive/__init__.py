"""Receive: from the network into the durable spool, and from there, series by series, to whoever works on them.

    spool = Spool(root, config.receive, also=())       # also: SOP Class UIDs that a rule asks for (contracts § 3)
    completion = Completion(spool, config.receive, config.peers, on_complete, missing=…)
    scp = StorageScp(config, spool, completion)        # config.node, .receive and .peers
    completion.start(); scp.start(); …; scp.stop(); completion.stop(); spool.close()

`on_complete(series)` must be idempotent: called once per version, again only where it raised or where we were killed
before the spool had noted that it returned. `missing(series)` says why slices are missing ("" where none is).
For the workflow: `spool.current_version`, `spool.series`, `spool.overview` (ages), `spool.remember_own(uids)` before a
result leaves, `spool.drop(series_uid, version)`. STOW-RS stores through `Intake.take`.
"""
