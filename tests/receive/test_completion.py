"""When a series is complete (contracts § 2), which versions there are (§ 1), and what never starts work (§ 3)."""

from __future__ import annotations

import socket
import time

import pytest

from tests.receive.receiving import make_series, make_slice, write_files
from tests.receive.sending import association, send, storescu


def test_an_open_association_holds_the_series(receiver):
    node = receiver(quiet_s=0.3)
    series = make_series(3)
    with association(node.port, series) as link:
        assert [send(link, ds).Status for ds in series] == [0, 0, 0]
        node.nothing_more(1.0)
        released = time.monotonic()
    node.wait(1)
    assert time.monotonic() - released >= 0.3
    node.nothing_more(0.6)


def test_a_release_is_recorded_before_it_is_answered(receiver):
    """A node that is killed right after its answer would otherwise wait for a sender that is through."""
    node = receiver(quiet_s=60)
    for count in range(1, 11):
        (slice_,) = make_series(1)
        with association(node.port, [slice_]) as link:
            assert send(link, slice_).Status == 0
            link.release()
        assert not node.archive.arrival_state(str(slice_.SeriesInstanceUID))[1].open, count


def test_an_association_per_image_is_one_series(receiver, tmp_path):
    node = receiver(quiet_s=5)
    for path in write_files(tmp_path / "in", make_series(4)):
        assert storescu(node.port, [path]).returncode == 0
    (done,) = node.wait(1)
    assert len(done.instances) == 4


def test_a_late_slice_makes_one_new_version(receiver):
    node = receiver()
    series = make_series(4)
    with association(node.port, series) as link:
        assert [send(link, ds).Status for ds in series[:3]] == [0, 0, 0]
        link.release()
    node.wait(1)
    with association(node.port, series) as link:
        assert [send(link, ds).Status for ds in series] == [0] * 4
    first, second = node.wait(2)
    assert (len(first.instances), len(second.instances)) == (3, 4)
    assert first.version != second.version
    node.nothing_more(0.7)
    with association(node.port, series) as link:
        assert [send(link, ds).Status for ds in reversed(series)] == [0] * 4
    node.nothing_more(0.8)


def missing_unless(count):
    """Slices are known to be missing from a series of fewer instances."""
    return lambda series: "" if len(series.instances) == count else "slices are missing"


@pytest.mark.parametrize("how", ["abort", "cut"])
def test_an_aborted_or_lost_association_waits_longer_and_is_incomplete_where_slices_are_missing(receiver, how):
    node = receiver(quiet_s=0.2, incomplete_s=1.5, missing=missing_unless(6))
    series = make_series(6)
    with association(node.port, series) as link:
        assert [send(link, ds).Status for ds in series[:2]] == [0, 0]
        ended = time.monotonic()
        assert send(link, series[2]).Status == 0
        if how == "abort":
            link.abort()
        else:
            link.dul.socket.socket.shutdown(socket.SHUT_RDWR)
    node.nothing_more(1.0)
    (done,) = node.wait(1)
    assert time.monotonic() - ended >= 1.5
    reason = "an association that sent to it was aborted or lost; slices are missing"
    assert (len(done.instances), done.incomplete) == (3, reason)
    # Sent again as a whole: a new version, complete, and soon.
    with association(node.port, series) as link:
        assert [send(link, ds).Status for ds in series] == [0] * 6
    _, whole = node.wait(2, 1.2)
    assert (len(whole.instances), whole.incomplete) == (6, "")


def test_an_abort_after_the_last_slice_waits_longer_and_is_no_finding(receiver):
    node = receiver(quiet_s=0.2, incomplete_s=1.2, missing=missing_unless(3))
    series = make_series(3)
    with association(node.port, series) as link:
        ended = time.monotonic()
        assert [send(link, ds).Status for ds in series] == [0] * 3
        link.abort()
    (done,) = node.wait(1)
    assert time.monotonic() - ended >= 1.2
    assert (len(done.instances), done.incomplete) == (3, "")


def test_sending_again_heals_an_abort_before_it_is_handed_on(receiver):
    node = receiver(quiet_s=0.2, incomplete_s=30)
    series = make_series(4)
    with association(node.port, series) as link:
        send(link, series[0])
        link.abort()
    with association(node.port, series) as link:
        assert [send(link, ds).Status for ds in series] == [0] * 4
    (done,) = node.wait(1)
    assert (len(done.instances), done.incomplete) == (4, "")


def test_one_of_two_senders_aborting_is_not_complete(receiver):
    node = receiver(quiet_s=0.2, incomplete_s=1.2, missing=missing_unless(4))
    series = make_series(4)
    with association(node.port, series) as one, association(node.port, series) as two:
        assert send(one, series[0]).Status == 0
        assert send(two, series[1]).Status == 0
        one.abort()
        assert send(two, series[2]).Status == 0
    (done,) = node.wait(1)
    assert "aborted" in done.incomplete


def test_images_in_acquisition_that_are_missing_are_waited_for(receiver):
    node = receiver(quiet_s=0.2, incomplete_s=1.2)
    short, whole = make_series(3, ImagesInAcquisition=4), make_series(3, ImagesInAcquisition=3)
    with association(node.port, short) as link:
        assert [send(link, ds).Status for ds in [*short, *whole]] == [0] * 6
    first, second = node.wait(2)
    assert (first.series_uid, first.incomplete) == (whole[0].SeriesInstanceUID, "")
    assert second.incomplete == "3 of 4 Images in Acquisition (0020,1002) arrived"


def test_missing_slices_are_waited_for_until_they_come(receiver):
    node = receiver(
        quiet_s=0.3,
        incomplete_s=20,
        missing=lambda series: "" if len(series.instances) == 4 else "slices are missing at 5 mm",
    )
    series = make_series(4)
    with association(node.port, series) as link:
        assert [send(link, ds).Status for ds in series[:3]] == [0] * 3
    node.nothing_more(1.0)
    with association(node.port, series) as link:
        assert send(link, series[3]).Status == 0
    (done,) = node.wait(1)
    assert (len(done.instances), done.incomplete) == (4, "")


def test_a_peer_may_have_its_own_quiet_time(receiver):
    node = receiver(quiet_s=30, peers={"ct": {"ae_title": "CT1", "quiet_s": 0.3}, "mr": {"ae_title": "MR1"}})
    fast, slow = make_series(2), make_series(2)
    for series, calling in ((slow, "MR1"), (fast, "CT1")):
        with association(node.port, series, calling) as link:
            assert [send(link, ds).Status for ds in series] == [0, 0]
    (done,) = node.wait(1)
    assert done.series_uid == fast[0].SeriesInstanceUID
    node.nothing_more(0.5)


def test_results_and_documents_start_nothing(receiver):
    node = receiver(also=("1.2.840.10008.5.1.4.1.1.7",))
    seg = make_slice("1.2.1", 1, SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4")
    ours = make_slice("1.2.2", 1, Manufacturer="voxtell-dicom")
    known = make_slice("1.2.3", 1)
    asked = make_slice("1.2.4", 1, SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    node.archive.remember_own(["1.2.3"])
    with association(node.port, [seg, ours, known, asked]) as link:
        assert [send(link, ds).Status for ds in (seg, ours, known, asked)] == [0] * 4
    (done,) = node.wait(1)
    assert done.series_uid == "1.2.4"
    node.nothing_more(0.7)
    assert len(list(node.archive.summaries())) == 4


def test_what_could_not_be_handed_on_is_tried_again(receiver):
    node = receiver(quiet_s=0.2)
    tries = []

    def fail_twice(_connection, series):
        tries.append(series)
        if len(tries) < 3:
            raise RuntimeError("database is locked")

    node.completion._enqueue = fail_twice
    (ds,) = make_series(1)
    with association(node.port, [ds]) as link:
        send(link, ds)
    until = time.monotonic() + 60
    while not node.archive.summary(ds.SeriesInstanceUID).handed_on and time.monotonic() < until:
        time.sleep(0.05)
    assert len(tries) == 3
    assert len({series.version for series in tries}) == 1


def test_a_restart_takes_up_what_was_not_handed_on(receiver, tmp_path):
    node = receiver(quiet_s=30)
    done, open_ended = make_series(2), make_series(2)
    with association(node.port, done) as link:
        assert [send(link, ds).Status for ds in done] == [0, 0]
    with association(node.port, open_ended) as link:
        assert [send(link, ds).Status for ds in open_ended] == [0, 0]
        node.close()
    again = receiver(quiet_s=0.3, incomplete_s=1.0, missing=missing_unless(2))
    first, second = again.wait(2)
    assert (first.series_uid, first.incomplete) == (done[0].SeriesInstanceUID, "")
    assert second.series_uid == open_ended[0].SeriesInstanceUID
    assert second.incomplete == ""  # its association was lost, but nothing of it is missing
    again.close()
    third = receiver(quiet_s=0.2)
    third.nothing_more(0.6)
