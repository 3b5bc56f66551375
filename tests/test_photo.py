"""Photos: coding, messages, and what a hostile peer may send."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from codec.errors import BitstreamError
from codec.packets import window_integers
from codec.parameters import FrameParameters, Window
from codec.photo import CHUNK, MAX_PHOTO_BYTES, Photo, PhotoAssembler, decode_photo, encode_identity, encode_photo

RNG = np.random.default_rng(3)


def picture() -> np.ndarray:
    coarse = RNG.integers(0, 255, (16, 16, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((256, 256), Image.Resampling.BICUBIC))


def parameters() -> FrameParameters:
    vector = np.concatenate((RNG.normal(size=28), [140, 0.1, -0.3, 0.05, 128, 120, 0])).astype(np.float32)
    return FrameParameters.from_vector(vector, Window(1.0, 2.0, 1.0))


IDENTITY = RNG.normal(size=40).astype(np.float32)
CODED = encode_photo(picture(), 6000)
PHOTO = Photo(0, 1, CODED, parameters())


def assembler() -> PhotoAssembler:
    receiving = PhotoAssembler()
    receiving.add(encode_identity(IDENTITY, 1))
    return receiving


@pytest.mark.parametrize("budget", [1500, 4000, 7500])
def test_a_photo_fits_its_budget_and_a_larger_one_is_closer(budget):
    original = picture()
    coded = encode_photo(original, budget)
    assert len(coded) <= budget
    error = np.abs(decode_photo(coded).astype(int) - original).mean()
    assert error < 25
    assert np.abs(decode_photo(encode_photo(original, 4 * budget)).astype(int) - original).mean() <= error


def test_messages_rebuild_the_photo_with_its_fit():
    receiving = assembler()
    messages = PHOTO.messages()
    assert len(messages) == 1 + -(-len(CODED) // CHUNK)
    results = [receiving.add(m) for m in messages]
    assert results[:-1] == [None] * (len(messages) - 1)
    reference = results[-1]
    assert reference is not None
    np.testing.assert_array_equal(reference.picture, decode_photo(CODED))
    np.testing.assert_allclose(reference.identity, IDENTITY, atol=1 / 2048 + 1e-6)
    assert window_integers(reference.parameters.window) == window_integers(PHOTO.parameters.window)
    assert reference.fit is not None
    np.testing.assert_array_equal(reference.fit, PHOTO.fit)
    assert np.abs(reference.parameters.vector() - PHOTO.parameters.vector())[:28].max() < 0.5


def test_a_refit_gives_a_photo_another_fit_and_identity():
    receiving = assembler()
    first = [receiving.add(m) for m in PHOTO.messages()][-1]
    other = Photo(0, 2, CODED, FrameParameters.from_vector(PHOTO.parameters.vector() + 0.5))
    with pytest.raises(BitstreamError, match="identity 2"):
        receiving.add(other.refit())
    receiving.add(encode_identity(2 * IDENTITY, 2))
    again = receiving.add(other.refit())
    assert first is not None
    assert again is not None
    assert first.fit is not None
    assert again.fit is not None
    assert again.picture is first.picture
    np.testing.assert_allclose(again.identity, 2 * IDENTITY, atol=1e-3)
    assert np.abs(again.parameters.vector() - other.parameters.vector())[:28].max() < 0.5
    np.testing.assert_array_equal(again.fit, first.fit)


def test_a_flipped_bit_in_the_picture_is_noticed():
    receiving = assembler()
    messages = PHOTO.messages()
    messages[2] = messages[2][:-1] + bytes([messages[2][-1] ^ 1])
    for message in messages[:-1]:
        receiving.add(message)
    with pytest.raises(BitstreamError, match="hash"):
        receiving.add(messages[-1])


def test_chunks_out_of_place_or_for_unknown_photos_are_refused():
    messages = PHOTO.messages()
    with pytest.raises(BitstreamError, match="not announced"):
        assembler().add(messages[1])
    receiving = assembler()
    receiving.add(messages[0])
    with pytest.raises(BitstreamError, match="does not follow"):
        receiving.add(messages[2])


def test_a_photo_without_its_identity_is_refused():
    with pytest.raises(BitstreamError, match="identity"):
        PhotoAssembler().add(PHOTO.messages()[0])


@pytest.mark.parametrize("size", [0, MAX_PHOTO_BYTES + 1, 2**32 - 1])
def test_absurd_sizes_are_refused_when_announced(size):
    start = bytearray(PHOTO.messages()[0])
    start[3:7] = size.to_bytes(4, "big")
    with pytest.raises(BitstreamError):
        assembler().add(bytes(start))


@pytest.mark.parametrize("data", [b"", b"\x11", b"\x11\x00\x05", b"\x12", b"\x13\x00", b"\xff" * 40, bytes(200)])
def test_garbage_messages_raise_bitstream_error(data):
    with pytest.raises(BitstreamError):
        assembler().add(data)


def png_bomb() -> bytes:
    out = io.BytesIO()
    Image.new("L", (20000, 5000)).save(out, "PNG")
    return out.getvalue()


def large_avif() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4096, 4096)).save(out, "AVIF", quality=1, speed=10)
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [b"", b"junk", zlib.compress(bytes(10**6)), png_bomb(), large_avif(), CODED[:100], CODED[: len(CODED) // 2], bytes(70_000)],
    ids=["empty", "junk", "zlib", "png bomb", "16 megapixels", "header only", "half", "too long"],
)  # fmt: skip
def test_what_is_no_photo_raises_bitstream_error(data):
    with pytest.raises(BitstreamError):
        decode_photo(data)


def test_flipped_bits_in_a_photo_raise_nothing_else():
    rng = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(CODED)
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        try:
            assert decode_photo(bytes(data)).shape == (256, 256, 3)
        except BitstreamError:
            continue
