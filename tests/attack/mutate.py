"""Seeded damage to the bytes of a file."""

import random

NUMBERS = (
    0, 1, 127, 128, 255, 256, 32767, 32768, 65535, 65541, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
WORDS = (
    b"1e300", b"nan", b"-1", b"99999999999999999999999", b"\0", b'"', b"\xef\xbb\xbf", b"\r\n", b"{", b"\xff\xfe",
)  # fmt: skip


def mutate(content: bytes, seed: object) -> bytes:
    """`content` with one to four random changes."""
    generator = random.Random(repr(seed))
    changed = bytearray(content)
    for _ in range(generator.choice((1, 1, 2, 4))):
        generator.choice(_CHANGES)(changed, generator)
    return bytes(changed)


def _place(content: bytearray, generator: random.Random) -> int:
    near_the_front = generator.random() < 0.5
    return generator.randrange(min(len(content), 512) if near_the_front else len(content)) if content else 0


def _flip(content: bytearray, generator: random.Random) -> None:
    if content:
        content[_place(content, generator)] ^= 1 << generator.randrange(8)


def _number(content: bytearray, generator: random.Random) -> None:
    size = generator.choice((1, 2, 4, 8))
    value = generator.choice(NUMBERS) % (1 << 8 * size)
    at = _place(content, generator)
    content[at : at + size] = value.to_bytes(size, generator.choice(("little", "big")))


def _cut(content: bytearray, generator: random.Random) -> None:
    del content[_place(content, generator) :]


def _remove(content: bytearray, generator: random.Random) -> None:
    at = _place(content, generator)
    del content[at : at + generator.randrange(1, 64)]


def _repeat(content: bytearray, generator: random.Random) -> None:
    at = _place(content, generator)
    content[at:at] = content[at : at + generator.randrange(1, 64)]


def _noise(content: bytearray, generator: random.Random) -> None:
    at = _place(content, generator)
    content[at : at + generator.randrange(1, 16)] = generator.randbytes(generator.randrange(1, 16))


def _word(content: bytearray, generator: random.Random) -> None:
    at = _place(content, generator)
    content[at : at + generator.randrange(4)] = generator.choice(WORDS)


_CHANGES = (_flip, _flip, _number, _number, _cut, _remove, _repeat, _noise, _word)
