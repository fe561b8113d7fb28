"""PNG files made small: a page has few colours, and a screenshot spends four bytes on each pixel."""

import collections
import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_COLOURS = 256


def chunks_of(data):
    place = len(SIGNATURE)
    while place < len(data):
        (size,) = struct.unpack_from(">I", data, place)
        yield data[place + 4:place + 8], data[place + 8:place + 8 + size]
        place += size + 12


def paeth(left, up, corner):
    first = left + up - corner
    return min((left, up, corner), key=lambda value: abs(first - value))


def rows_of(width, depth, lines):
    """The bytes of each row, with the filter of the format undone."""
    size = width * depth
    above = bytearray(size)
    for start in range(0, len(lines), size + 1):
        kind, row = lines[start], bytearray(lines[start + 1:start + 1 + size])
        if kind == 2:
            row = bytearray((a + b) & 255 for a, b in zip(row, above))
        elif kind:
            for i in range(size):
                left, corner = (row[i - depth], above[i - depth]) if i >= depth else (0, 0)
                row[i] = row[i] + (left, None, (left + above[i]) // 2, paeth(left, above[i], corner))[kind - 1] & 255
        above = row
        yield bytes(row)


def write_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def shrink(path):
    """The 256 most frequent colours; each other one becomes the nearest of them."""
    data = path.read_bytes()
    parts = collections.defaultdict(bytes)
    for kind, body in chunks_of(data):
        parts[kind] += body
    width, height, bits, colour = struct.unpack_from(">IIBB", parts[b"IHDR"])
    assert bits == 8 and colour in (2, 6), (bits, colour)
    depth = 3 if colour == 2 else 4
    rows = [[row[i:i + 3] for i in range(0, len(row), depth)] for row in rows_of(width, depth, zlib.decompress(parts[b"IDAT"]))]
    counted = collections.Counter(pixel for row in rows for pixel in row)
    palette = [pixel for pixel, _ in counted.most_common(MOST_COLOURS)]
    number = {pixel: i for i, pixel in enumerate(palette)}
    for pixel in counted:
        if pixel not in number:
            number[pixel] = min(range(len(palette)), key=lambda i: sum((a - b) ** 2 for a, b in zip(palette[i], pixel)))
    lines = b"".join(b"\0" + bytes(number[pixel] for pixel in row) for row in rows)
    path.write_bytes(SIGNATURE + write_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
                     + write_chunk(b"PLTE", b"".join(palette)) + write_chunk(b"IDAT", zlib.compress(lines, 9)) + write_chunk(b"IEND", b""))
