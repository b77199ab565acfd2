"""References: images in every layout, saved statistics of ours and of others, and what does not
fit."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from diffdescent.base.errors import UserError
from diffdescent.base.image_sets import read_images, stream_images
from diffdescent.evaluate import (
    extract,
    moments_of,
    read_reference,
    score,
    summarise,
    write_statistics,
)
from tests.unit.evaluate.pictures import extractor, pictures, write


def test_folder_zip_and_npz_of_one_set_are_one_reference(tmp_path: Path) -> None:
    images = pictures(20)
    folder = write(tmp_path / "folder", images)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    np.savez(tmp_path / "set.npz", arr_0=images.permute(0, 2, 3, 1).numpy())
    expected = moments_of(extract(extractor(), images).pool)
    for path in (folder, tmp_path / "set.zip", tmp_path / "set.npz"):
        found = read_reference(path, extractor())
        assert found.count == 20
        assert torch.equal(found.moments.mu, expected.mu)
        assert torch.equal(found.moments.sigma, expected.sigma)
        assert found.protocol == extractor().protocol


def test_streamed_images_are_those_read_at_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "folder", pictures(23))
    batches = list(stream_images(folder, batch=10))
    assert [len(b) for b in batches] == [10, 10, 3]
    assert torch.equal(torch.cat(batches), read_images(folder).images)
    write(tmp_path / "folder" / "other", pictures(1, size=4))
    with pytest.raises(
        UserError,
        match=r"differ in size: 0000\.png is 8×8 with 3 channels but other/0000\.png is 4×4",
    ):
        list(stream_images(folder, batch=10))


def test_the_sheet_of_a_run_is_no_image_of_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", pictures(4))
    write(tmp_path, pictures(1, size=16))
    (tmp_path / "0000.png").rename(folder / "sheet.png")
    with pytest.raises(UserError, match="differ in size"):
        list(stream_images(folder))
    (folder / "run.json").write_text("{}")
    assert sum(len(b) for b in stream_images(folder)) == 4
    assert len(read_images(folder)) == 4


def test_moments_alone_need_no_features_in_memory() -> None:
    images = pictures(50)
    batches = torch.split(images, 7)
    lean, full = summarise(batches, extractor(), keep=False), summarise(batches, extractor())
    assert lean.features is None
    assert full.features is not None
    assert lean.count == full.count == 50
    for a, b in ((lean.moments, full.moments), (lean.spatial, full.spatial)):
        assert a is not None
        assert b is not None
        assert torch.allclose(a.sigma, b.sigma, rtol=1e-10)
    ours = score(lean, summarise([pictures(40, seed=1)], extractor(), keep=False), ["fd", "sfd"])
    theirs = score(full, summarise([pictures(40, seed=1)], extractor()), ["fd", "sfd"], resamples=0)
    assert [s.value for s in ours] == pytest.approx([s.value for s in theirs], rel=1e-9)


def test_saved_statistics_come_back_with_their_protocol(tmp_path: Path) -> None:
    reference = summarise([pictures(30)], extractor())
    write_statistics(tmp_path / "stats.npz", reference)
    found = read_reference(tmp_path / "stats.npz", extractor())
    assert found.count == 30
    assert torch.equal(found.moments.sigma, reference.moments.sigma)
    assert found.spatial is not None
    assert reference.spatial is not None
    assert torch.equal(found.spatial.mu, reference.spatial.mu)
    images = extract(extractor(), pictures(25, seed=1))
    a, b = score(images, found, ["fd", "sfd"]), score(images, reference, ["fd", "sfd"])
    assert [s.value for s in a] == [s.value for s in b]
    assert [(s.low, s.high) for s in a] == [(s.low, s.high) for s in b]
    with pytest.raises(UserError, match=r"end the name in \.npz"):
        write_statistics(tmp_path / "stats.pt", reference)


def test_statistics_of_another_protocol_are_refused_with_what_differs(tmp_path: Path) -> None:
    write_statistics(tmp_path / "stats.npz", summarise([pictures(30)], extractor("legacy")))
    with pytest.raises(UserError, match=r"another protocol \(resize: clean here, legacy there\)"):
        read_reference(tmp_path / "stats.npz", extractor())
    images = extract(extractor(), pictures(25))
    with pytest.raises(UserError, match="resize: clean here, legacy there"):
        score(images, summarise([pictures(30)], extractor("legacy")), ["fd"])


def test_statistics_of_pytorch_fid_and_of_adm(tmp_path: Path) -> None:
    images, others = pictures(30), extract(extractor(), pictures(25, seed=1))
    known = summarise([images], extractor())
    assert known.spatial is not None
    mu, sigma = known.moments.mu.numpy(), known.moments.sigma.numpy()
    np.savez(tmp_path / "pytorch-fid.npz", mu=mu, sigma=sigma)
    found = read_reference(tmp_path / "pytorch-fid.npz", extractor())
    assert found.count is None
    fd = score(others, found, ["fid"])[0]
    assert fd.value == score(others, known, ["fd"])[0].value
    assert "does not say how it was made" in str(fd.notes[0])
    with pytest.raises(
        UserError, match=r"Spatial Fréchet distance cannot be computed: .*does not have"
    ):
        score(others, found, ["sfd"])
    with pytest.raises(UserError, match=r"Precision cannot be computed: it looks at single images"):
        score(others, found, ["precision"])
    np.savez(
        tmp_path / "adm.npz",
        mu=mu,
        sigma=sigma,
        mu_s=known.spatial.mu.numpy(),
        sigma_s=known.spatial.sigma.numpy(),
        arr_0=images.permute(0, 2, 3, 1).numpy(),
    )
    adm = read_reference(tmp_path / "adm.npz", extractor())
    names = ["fd", "sfd", "precision", "recall", "kid"]
    assert [s.value for s in score(others, adm, names)] == [
        s.value for s in score(others, known, names)
    ]


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    whole = summarise([pictures(30)], extractor())
    path = tmp_path / "stats.npz"
    write_statistics(path, whole)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="cannot be read as an npz"):
        read_reference(path, extractor())
    np.savez(path, mu=np.zeros(4), sigma=np.zeros((3, 3)))
    with pytest.raises(
        UserError, match=r"mu of shape \(4,\) and sigma of shape \(3, 3\); expected"
    ):
        read_reference(path, extractor())
    np.savez(path, mu=np.array([0.0, np.nan]), sigma=np.eye(2))
    with pytest.raises(UserError, match="hold NaN or Inf"):
        read_reference(path, extractor())
    np.savez(path, mu=np.zeros(5), sigma=np.eye(5))
    with pytest.raises(UserError, match="Cannot compare 12 features with 5"):
        score(extract(extractor(), pictures(9)), read_reference(path, extractor()), ["fd"])
    np.savez(path, mu=np.zeros(5), sigma=np.eye(5), protocol=np.array(json.dumps(["taps"])))
    with pytest.raises(UserError, match="not a JSON object"):
        read_reference(path, extractor())
    np.savez(path, features=np.zeros(5))
    with pytest.raises(UserError, match="no array 'arr_0' or 'images'"):
        read_reference(path, extractor())
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no readable image"):
        read_reference(tmp_path / "empty", extractor())
    with pytest.raises(UserError, match="There is no file or folder"):
        read_reference(tmp_path / "absent.npz", extractor())
