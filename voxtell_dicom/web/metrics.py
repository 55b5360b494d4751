"""Metrics for Prometheus at /metrics: read from the index and the job book when they are asked for.

So they hold over restarts, and cost nothing between two looks. Rules and peers are labels; nothing names patients.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import voxtell_dicom
from voxtell_dicom.archive.catalogue import Catalogue
from voxtell_dicom.jobs.figures import JobFigures
from voxtell_dicom.web.services import Services

BOUNDS: Final = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0)  # seconds


class NodeCollector(Collector):
    """Makes the metrics of a node. Raises SQLAlchemyError, OSError where database or disk do not answer."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._figures = JobFigures(services.engine)
        self._catalogue = Catalogue(services.engine, services.archive.objects)

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: the database is not read where a collector is registered."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its samples."""
        yield InfoMetricFamily("voxtell_build", "Version of voxtell-dicom", {"version": voxtell_dicom.__version__})
        yield from self._archive()
        yield from self._jobs()
        yield from self._disk()

    def _archive(self) -> Iterator[Metric]:
        held, receiving, instances = self._catalogue.totals()
        series = GaugeMetricFamily("voxtell_series", "Series that are here", labels=["state"])
        series.add_metric(["receiving"], receiving)
        series.add_metric(["complete"], held - receiving)
        yield series
        yield GaugeMetricFamily("voxtell_instances", "Received instances that are here", instances)

    def _jobs(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("voxtell_jobs", "Jobs in the job book", labels=["state", "rule"])
        for state, rule, number in self._figures.jobs():
            jobs.add_metric([state, rule], number)
        yield jobs
        oldest = GaugeMetricFamily(
            "voxtell_job_oldest_seconds", "Age of the oldest job in each state that is not final", labels=["state"]
        )
        for state, seconds in self._figures.oldest():
            oldest.add_metric([state], seconds)
        yield oldest
        deliveries = CounterMetricFamily(
            "voxtell_deliveries", "Attempts to send an object to a peer", labels=["peer", "outcome"]
        )
        for peer, outcome, number in self._figures.deliveries():
            deliveries.add_metric([peer, outcome], number)
        yield deliveries
        stages = HistogramMetricFamily("voxtell_stage_seconds", "Seconds that a stage of a job took", labels=["stage"])
        for stage in self._figures.stages(BOUNDS):
            buckets = [*zip(map(str, BOUNDS), stage.at_most, strict=True), ("+Inf", stage.number)]
            stages.add_metric([stage.stage], buckets, stage.seconds)
        yield stages

    def _disk(self) -> Iterator[Metric]:
        usage = shutil.disk_usage(self._services.config.node.storage)
        yield GaugeMetricFamily("voxtell_disk_free_bytes", "Free bytes of the disk of the storage folder", usage.free)
        yield GaugeMetricFamily("voxtell_disk_size_bytes", "Size of the disk of the storage folder", usage.total)


def registry(services: Services) -> CollectorRegistry:
    """Return a registry of these metrics alone."""
    found = CollectorRegistry(auto_describe=False)
    found.register(NodeCollector(services))
    return found
