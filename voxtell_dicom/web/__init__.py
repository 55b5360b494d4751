"""The web face: DICOMweb (PS3.18: STOW-RS, QIDO-RS, WADO-RS), health and metrics, on `node.http`.

    server = WebServer(Services(config, engine, archive, completion, jobs))
    server.bind(); server.start(); …; server.begin_stop(drain_s); server.join()

One listener in the node's process, in a thread with an event loop of its own; what touches the disk or the database
runs in worker threads. Without `node.http` nothing of it is imported.
"""
