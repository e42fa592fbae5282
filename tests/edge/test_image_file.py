"""Image files of all kinds, whole and damaged, as raw pictures."""

import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from edge.camera.image_file import MAX_PIXELS, image_files, read_image
from edge.errors import ConfigError, EdgeError
from edge.messages import PixelFormat

MONO8, RGB8 = PixelFormat.MONO8, PixelFormat.RGB8


def saved(path, image, **options):
    image.save(path, **options)
    return path


def noise(mode="RGB", size=(37, 23)):
    channels = len(Image.new(mode, (1, 1)).getbands())
    shape = (size[1], size[0]) if channels == 1 else (size[1], size[0], channels)
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, shape, np.uint8)).convert(mode)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, depth, colour, raw):
    """A PNG made by hand; for what Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff", "PNG"])
@pytest.mark.parametrize(("mode", "pixel_format"), [("L", MONO8), ("RGB", RGB8)])
def test_lossless_files_come_as_they_are(tmp_path, suffix, mode, pixel_format):
    image = noise(mode)
    found, found_format = read_image(saved(tmp_path / f"image.{suffix}", image))
    assert found_format is pixel_format
    assert found.dtype == np.uint8
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, np.asarray(image))


@pytest.mark.parametrize(("mode", "pixel_format"), [("L", MONO8), ("RGB", RGB8), ("CMYK", RGB8)])
def test_jpeg_is_what_pillow_makes_of_it(tmp_path, mode, pixel_format):
    path = saved(tmp_path / "image.jpg", noise("RGB").convert(mode))
    found, found_format = read_image(path)
    assert found_format is pixel_format
    with Image.open(path) as image:
        np.testing.assert_array_equal(found, np.asarray(image.convert("L" if mode == "L" else "RGB")))


@pytest.mark.parametrize(
    ("mode", "pixel_format"),
    [
        ("1", MONO8),  # black and white
        ("LA", MONO8),
        ("RGBA", RGB8),
        ("P", RGB8),  # a palette may hold colours
    ],
)
def test_other_modes(tmp_path, mode, pixel_format):
    image = noise("RGB").convert(mode)
    found, found_format = read_image(saved(tmp_path / "image.png", image))
    assert found_format is pixel_format
    np.testing.assert_array_equal(found, np.asarray(image.convert("L" if pixel_format is MONO8 else "RGB")))


def test_palette_with_transparency_does_not_warn(tmp_path):
    path = saved(tmp_path / "image.png", noise("RGB").convert("P"), transparency=bytes(range(256)))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert read_image(path)[0].shape == (23, 37, 3)
    assert told == []


def test_exif_does_not_turn_the_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    found, _ = read_image(saved(tmp_path / "image.jpg", noise(size=(40, 20)), exif=exif))
    assert found.shape == (20, 40, 3)


def test_the_first_of_several_pages_is_read(tmp_path):
    first = Image.new("L", (8, 8), 10)
    path = saved(tmp_path / "image.tif", first, save_all=True, append_images=[Image.new("L", (8, 8), 200)])
    assert read_image(path)[0].max() == 10


DEEP = {
    "grey16.png": lambda path: Image.fromarray(np.full((4, 4), 70, np.uint16)).save(path),
    "grey16.tif": lambda path: Image.fromarray(np.full((4, 4), 70, np.uint16)).save(path),
    "int32.tif": lambda path: Image.fromarray(np.full((4, 4), 70, np.int32)).save(path),
    "float.tif": lambda path: Image.fromarray(np.ones((4, 4), np.float32)).save(path),
    # Pillow would read these, and cut off the lower bits
    "rgb16.png": lambda path: path.write_bytes(png(2, 1, 16, 2, bytes(13))),
    "rgba16.png": lambda path: path.write_bytes(png(2, 1, 16, 6, bytes(17))),
    "greyalpha16.png": lambda path: path.write_bytes(png(2, 1, 16, 4, bytes(9))),
}


@pytest.mark.parametrize("name", DEEP)
def test_more_than_8_bits_are_refused(tmp_path, name):
    DEEP[name](tmp_path / name)
    with pytest.raises(EdgeError, match=rf"{name} has more than 8 bits.*8-bit PNG"):
        read_image(tmp_path / name)


def test_a_bmp_of_16_bits_per_pixel_is_8_bits_per_channel_or_less(tmp_path):
    header = struct.pack("<2sIHHI", b"BM", 70, 0, 0, 66)
    info = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 3, 4, 0, 0, 0, 0)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    (tmp_path / "image.bmp").write_bytes(header + info + masks + struct.pack("<HH", 0xF800, 0x001F))
    found, _ = read_image(tmp_path / "image.bmp")
    assert found.tolist() == [[[255, 0, 0], [0, 0, 255]]]


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_files_that_are_cut_off_are_refused(tmp_path, suffix, share):
    path = saved(tmp_path / f"image.{suffix}", noise(size=(200, 150)))
    content = path.read_bytes()
    path.write_bytes(content[: max(1, int(len(content) * share))])
    with pytest.raises(EdgeError, match=rf"image\.{suffix}"):
        read_image(path)


def test_a_png_with_a_changed_byte_is_refused(tmp_path):
    path = saved(tmp_path / "image.png", noise(size=(200, 150)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(EdgeError, match="damaged or cut off"):
        read_image(path)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
def test_damaged_files_give_pixels_or_our_error(tmp_path, suffix, seed, capfd):
    path = saved(tmp_path / f"image.{suffix}", noise(size=(60, 50)))
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    random = np.random.default_rng(seed)
    content[random.integers(0, min(len(content), 200), 8)] ^= random.integers(1, 256, 8, np.uint8)
    path.write_bytes(content.tobytes())
    try:
        found, _ = read_image(path)
    except EdgeError as fault:
        told = fault.what
    else:
        told = f"{path} gives {found.dtype}"
    assert str(path) in told
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty"),
        (b"plain text, no image", "is no image"),
        (b"GIF89a" + bytes(50), "is no image"),  # an image, but none of the four kinds
        (png(0, 4, 8, 0, b""), r"image\.png"),
        (png(20_000, 20_000, 8, 0, b""), r"image\.png"),
        (png(10_000, 10_000, 8, 0, b""), f"more than {MAX_PIXELS}"),
        (png(4, 4, 8, 0, bytes(3)), "damaged or cut off"),  # fewer rows than it says
    ],
    ids=["empty", "text", "gif", "no width", "bomb", "large", "short"],
)
def test_files_that_are_no_picture_are_refused(tmp_path, content, text):
    path = tmp_path / "image.png"
    path.write_bytes(content)
    with pytest.raises(EdgeError, match=text) as caught:
        read_image(path)
    assert str(path) in caught.value.what
    assert "BytesIO" not in str(caught.value)


def test_missing_files_folders_and_pipes_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for name, text in [
        ("missing.png", "No such file"),
        ("folder.png", "not a file"),
        ("pipe.png", "not a file"),
    ]:
        with pytest.raises(EdgeError, match=text):
            read_image(tmp_path / name)


def test_an_error_line_is_one_line(tmp_path):
    (tmp_path / "image.tif").write_bytes(b"II*\x00" + b"\xff" * 40)
    with pytest.raises(EdgeError) as caught:
        read_image(tmp_path / "image.tif")
    assert "\n" not in str(caught.value)


def folder_of(tmp_path, *names):
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def test_image_files_are_found_in_natural_order(tmp_path):
    names = ["b/1.png", "img10.png", "img2.JPG", "img1.bmp", "a/z.tiff", "img2b.tif", "a/b/c.jpeg", "07.png"]
    folder = folder_of(tmp_path, *names)
    found = [path.relative_to(folder).as_posix() for path in image_files(folder)]
    assert found == [
        "07.png",
        "a/b/c.jpeg",
        "a/z.tiff",
        "b/1.png",
        "img1.bmp",
        "img2.JPG",
        "img2b.tif",
        "img10.png",
    ]


def test_hidden_files_masks_and_other_files_are_left_out(tmp_path):
    folder = folder_of(
        tmp_path,
        "good/1.png",
        "ground_truth/1.png",
        "x/Grouth_Truth/1.png",
        ".hidden/1.png",
        "good/.2.png",
        "notes.txt",
        "labels.csv",
    )
    assert [path.relative_to(folder).as_posix() for path in image_files(folder)] == ["good/1.png"]


def test_a_folder_below_a_hidden_one_can_be_named(tmp_path):
    folder = folder_of(tmp_path, ".cache/ground_truth/1.png")
    assert len(image_files(folder / ".cache" / "ground_truth")) == 1


def test_links_do_not_lead_in_circles(tmp_path):
    folder = folder_of(tmp_path, "a/1.png")
    (folder / "a" / "up").symlink_to(folder)
    assert len(image_files(folder)) == 1


@pytest.mark.parametrize("name", ["empty", "file.png", "missing"])
def test_folders_without_pictures_are_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.png").touch()
    with pytest.raises(ConfigError, match=name):
        image_files(tmp_path / name)
