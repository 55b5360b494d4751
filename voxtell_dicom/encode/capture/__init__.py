"""Pictures: secondary captures, overlays and figures."""
