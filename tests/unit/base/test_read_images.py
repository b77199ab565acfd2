"""Folders, zips and npz files of images, whole and damaged."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffdescent.base.errors import UserError
from diffdescent.base.image_sets import read_images
from diffdescent.base.images import read_image


def png(value: int, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, value if mode == "L" else (value, 2, 3)).save(out, "PNG")
    return out.getvalue()


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def make_folder(path: Path, members: dict[str, bytes]) -> Path:
    for name, data in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


PETS = {"dog/1.png": png(10), "cat/2.png": png(20), "cat/1.png": png(30), "readme.txt": b"pets"}


@pytest.mark.parametrize("make", [make_zip, make_folder])
def test_class_folders_become_labels(tmp_path: Path, make) -> None:
    got = read_images(make(tmp_path / "pets.zip", PETS))
    assert got.names == ["cat/1.png", "cat/2.png", "dog/1.png"]
    assert got.classes == ["cat", "dog"]
    assert got.labels is not None
    assert got.labels.tolist() == [0, 0, 1]
    assert got.images.dtype == torch.uint8
    assert got.images.shape == (3, 3, 4, 6)
    assert got.images[:, :, 0, 0].tolist() == [[30, 2, 3], [20, 2, 3], [10, 2, 3]]
    assert got.num_classes == 2
    assert len(got) == 3


def test_a_wrapping_folder_is_no_class(tmp_path: Path) -> None:
    got = read_images(
        make_zip(tmp_path / "a.zip", {f"data/{name}": data for name, data in PETS.items()})
    )
    assert got.classes == ["cat", "dog"]


@pytest.mark.parametrize("names", [["1.png", "2.png"], ["cat/1.png", "2.png"]])
def test_images_outside_class_folders_have_no_labels(tmp_path: Path, names: list[str]) -> None:
    got = read_images(make_folder(tmp_path / "flat", {name: png(1) for name in names}))
    assert got.labels is None
    assert got.classes is None


def test_grey_images_keep_one_channel(tmp_path: Path) -> None:
    got = read_images(make_folder(tmp_path / "grey", {"a.png": png(9, mode="L")}))
    assert got.shape == (1, 4, 6)


def test_size_crops_the_centre_and_resizes(tmp_path: Path) -> None:
    got = read_images(
        make_zip(tmp_path / "a.zip", {"a.png": png(1), "b.png": png(2, (20, 30))}), size=8
    )
    assert got.shape == (3, 8, 8)


@pytest.mark.parametrize("keys", [("arr_0", "arr_1"), ("images", "labels")])
def test_npz(tmp_path: Path, keys: tuple[str, str]) -> None:
    pixels = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    np.savez(tmp_path / "a.npz", **{keys[0]: pixels, keys[1]: np.array([1, 0])})
    got = read_images(tmp_path / "a.npz")
    assert torch.equal(got.images, torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert got.labels is not None
    assert got.labels.tolist() == [1, 0]
    assert got.labels.dtype == torch.int64


def test_npz_of_grey_images_without_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.zeros((3, 4, 5), np.uint8))
    got = read_images(tmp_path / "a.npz")
    assert got.images.shape == (3, 1, 4, 5)
    assert got.labels is None


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    read_images(
        make_zip(tmp_path / "a.zip", PETS), progress=lambda done, total: calls.append((done, total))
    )
    assert calls[-1] == (3, 3)


def test_a_corrupt_image_is_named_and_may_be_skipped(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {**PETS, "dog/bad.png": png(10)[:40]})
    with pytest.raises(UserError, match=r"dog/bad\.png.*--skip-bad"):
        read_images(path)
    assert len(read_images(path, skip_bad=True)) == 3


def test_a_damaged_zip_member_is_named(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", PETS)
    data = bytearray(path.read_bytes())
    data[data.index(png(10)) + 20] ^= 0xFF  # the stored bytes no longer match their checksum
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"dog/1\.png"):
        read_images(path)


def test_mixed_sizes_name_both_images(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a.png": png(1), "b.png": png(1, (5, 5))})
    with pytest.raises(UserError, match=r"a\.png is 6×4 .* b\.png is 5×5 .*to one size"):
        read_images(path)


def test_missing_and_empty_and_not_a_zip(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file or folder"):
        read_images(tmp_path / "none")
    with pytest.raises(UserError, match="no readable image"):
        read_images(make_folder(tmp_path / "empty", {"a.txt": b"x"}))
    (tmp_path / "cut.zip").write_bytes(make_zip(tmp_path / "b.zip", PETS).read_bytes()[:50])
    with pytest.raises(UserError, match="cut short"):
        read_images(tmp_path / "cut.zip")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"arr_0": np.zeros((2, 4, 4, 3), np.float32)}, "float32; expected uint8"),
        ({"arr_0": np.zeros((2, 4, 4, 5), np.uint8)}, "shape"),
        ({"arr_0": np.zeros((0, 4, 4, 3), np.uint8)}, "holds no image"),
        ({"other": np.zeros(3)}, "no array 'arr_0'"),
        (
            {"arr_0": np.zeros((2, 4, 4, 3), np.uint8), "arr_1": np.zeros(3, np.int64)},
            "one label per image",
        ),
        ({"arr_0": np.zeros((2, 4, 4, 3), np.uint8), "arr_1": np.zeros(2)}, "expected integers"),
        ({"arr_0": np.zeros((2, 4, 4, 3), np.uint8), "arr_1": np.array([-1, 0])}, "go down to -1"),
        ({"arr_0": np.array([{}], dtype=object)}, "cannot be read"),
    ],
)
def test_bad_npz(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=message):
        read_images(tmp_path / "a.npz")


def test_a_truncated_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.zeros((9, 4, 4, 3), np.uint8))
    data = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="cut short"):
        read_images(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be read"):
        read_images(tmp_path / "b.npz")


def test_npz_of_another_size_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.zeros((2, 4, 4, 3), np.uint8))
    with pytest.raises(UserError, match="expected 8×8"):
        read_images(tmp_path / "a.npz", size=8)


def test_16_bits_are_scaled_and_32_refused(tmp_path: Path) -> None:
    wide = np.array([[0, 128], [32896, 65535]], dtype=np.uint16)
    (tmp_path / "wide").mkdir()
    Image.fromarray(wide).save(tmp_path / "wide" / "a.png")
    assert read_images(tmp_path / "wide").images.tolist() == [[[[0, 0], [128, 255]]]]
    assert read_image(tmp_path / "wide" / "a.png")[0].tolist() == [[0, 0], [128, 255]]
    (tmp_path / "floats").mkdir()
    Image.fromarray(wide.astype(np.float32)).save(tmp_path / "floats" / "a.tif")
    with pytest.raises(UserError, match="32 bits; save it with 8 bits"):
        read_images(tmp_path / "floats")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "I;16"])
def test_a_photo_is_read_as_its_camera_lay(mode: str, orientation: int, tmp_path: Path) -> None:
    pixels = np.arange(6, dtype=np.uint16 if mode == "I;16" else np.uint8).reshape(2, 3) * 40
    picture = Image.fromarray(pixels * 257 if mode == "I;16" else np.stack([pixels] * 3, axis=2))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photos" / "a.png"
    path.parent.mkdir()
    picture.save(path, exif=exif)
    # What the numbers mean: EXIF 2.32, table 6: where the 0th row and the 0th column are.
    seen = {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1],
        5: pixels.T, 6: pixels.T[:, ::-1], 7: pixels.T[::-1, ::-1], 8: pixels.T[::-1],
    }[orientation]  # fmt: skip
    assert read_image(path, channels=1)[0].tolist() == seen.tolist()
    assert read_images(path.parent).images[0, 0].tolist() == seen.tolist()


def test_a_format_that_starts_programs_is_not_read(tmp_path: Path) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    path = tmp_path / "photos" / "a.png"
    path.parent.mkdir()
    Image.new("RGB", (4, 4)).save(path, format="EPS")
    with pytest.raises(UserError, match="it is not an image"):
        read_image(path)
    with pytest.raises(UserError, match="cannot be decoded"):
        read_images(path.parent)


def test_a_transparent_palette_is_read_without_a_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    picture = Image.new("RGB", (2, 2), (10, 20, 30)).convert("P")
    picture.save(tmp_path / "a.png", transparency=b"\x00" * 256)
    assert read_images(tmp_path).images.shape == (1, 3, 2, 2)
    assert not recwarn.list


def test_a_zip_with_one_name_twice_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a.png": png(1)})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.png", png(2))
    with pytest.raises(UserError, match=r"several images named a\.png"):
        read_images(path)


def test_folders_and_notes_of_macos_in_a_zip_are_not_images(tmp_path: Path) -> None:
    members = {"c/1.png": png(1), "d/1.png": png(2), "x.png/": b"", "__MACOSX/c/._1.png": b"\0\5"}
    found = read_images(make_zip(tmp_path / "a.zip", members))
    assert found.names == ["c/1.png", "d/1.png"]
