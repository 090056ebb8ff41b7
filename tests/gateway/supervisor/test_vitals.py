"""What the operating system tells of the gateway."""

import os
import shutil
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from gateway.settings.schema import Certificate, Config, Listen, Listener
from gateway.supervisor.vitals import Certificates, Disk, measure_memory
from tests.monitoring.scene import write_certificate

DAY = 86_400
NOW_WRITTEN = 60  # seconds that a test may take


def test_memory_of_processes_that_live() -> None:
    gone = 2**22 + 1  # beyond every pid
    (reading,) = measure_memory([("worker", os.getpid()), ("engine", gone)])
    assert reading[0] == ("worker",)
    assert reading[1] == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)


def test_room_on_the_disk(tmp_path: Path) -> None:
    disk = Disk(str(tmp_path))
    ((_, size),), ((_, free),) = disk.size(), disk.free()
    usage = shutil.disk_usage(tmp_path)
    assert size == usage.total
    assert free == pytest.approx(usage.free, rel=0.2)


def serving(*files: Path) -> Config:
    pairs = tuple(Certificate(cert=str(file), key="key.pem") for file in files)
    return Config(listen=Listen(proxy=(Listener(address="127.0.0.1:8443", certificates=pairs),)))


def test_certificates_are_read_again_when_they_change(tmp_path: Path) -> None:
    write_certificate(tmp_path, timedelta(days=90))
    file, certificates = tmp_path / "cert.pem", Certificates()
    now = os.stat(file).st_mtime
    ((labels, left),) = certificates.measure(serving(file), now)
    assert labels == (str(file),)
    assert left == pytest.approx(90 * DAY, abs=NOW_WRITTEN)
    ((_, left),) = certificates.measure(serving(file), now + 91 * DAY)
    assert left == pytest.approx(-DAY, abs=NOW_WRITTEN)

    write_certificate(tmp_path, timedelta(days=10))
    os.utime(file, ns=(1, 1))
    ((_, left),) = certificates.measure(serving(file), now)
    assert left == pytest.approx(10 * DAY, abs=NOW_WRITTEN)


def test_the_first_of_a_chain_to_end_counts(tmp_path: Path) -> None:
    write_certificate(tmp_path, timedelta(days=90))
    leaf = (tmp_path / "cert.pem").read_bytes()
    write_certificate(tmp_path, timedelta(days=5))
    chain = tmp_path / "chain.pem"
    chain.write_bytes(leaf + (tmp_path / "cert.pem").read_bytes())
    ((_, left),) = Certificates().measure(serving(chain), os.stat(chain).st_mtime)
    assert left == pytest.approx(5 * DAY, abs=NOW_WRITTEN)


def test_a_file_that_cannot_be_read_any_more_ends_as_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_certificate(tmp_path, timedelta(days=90))
    file, certificates = tmp_path / "cert.pem", Certificates()
    before = certificates.measure(serving(file), 0.0)
    file.write_text("nonsense")
    os.utime(file, ns=(1, 1))
    assert certificates.measure(serving(file), 0.0) == before
    assert str(file) in caplog.text
    assert certificates.measure(serving(tmp_path / "never.pem"), 0.0) == []
    assert certificates.measure(Config(), 0.0) == []
